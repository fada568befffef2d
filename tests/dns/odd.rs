//! Questions that no resolver sends, but that come: not whole, with more or less in them than a question has, or of
//! other kinds; and those for changes of a zone.

use bowline_dns::wire::{Data, Flags, Message, Name, Opcode, Question, Record, Soa, Type};

use crate::ask::{Ask, CLIENTS, Via};

/// Bytes of the header.
const HEADER: usize = 12;

/// All for one name, by UDP and TCP.
pub(crate) fn all(name: &str) -> Vec<Ask> {
    let plain = Ask::plain(name, Type::A).bytes;
    let mut all = vec![plain.clone()];
    let mut put = |at: usize, byte: u8| {
        let mut bytes = plain.clone();
        bytes[at] = byte;
        all.push(bytes);
    };
    // Flags that questions don't have: AA, TC, RA, Z, AD and CD at once, a code.
    [(2, 0x05), (2, 0x03), (3, 0x80), (3, 0x40), (3, 0x30), (3, 0x03)].iter().for_each(|(at, byte)| put(*at, *byte));
    // Each opcode.
    (1..16).for_each(|opcode| put(2, opcode << 3));
    // Counts of what isn't there: no question, two; an answer, two; an authority, two; additional records.
    [(5, 0), (5, 2), (7, 1), (7, 2), (9, 1), (9, 2), (11, 1), (11, 2), (11, 3)]
        .iter()
        .for_each(|(at, count)| put(*at, *count));
    // Names that are none: labels of unknown kinds, a label that goes past the end, pointers to the header and forward.
    [0x40, 0x80, 0x3F, 0xC0].iter().for_each(|kind| put(HEADER, *kind));
    // Cut in the name, before the type, in the class.
    let lengths = [HEADER, HEADER + 3, plain.len() - 4, plain.len() - 1];
    all.extend(lengths.map(|length| plain[..length].to_vec()));
    all.push([&plain[..], &[0]].concat());
    all.push([&plain[..], &[0xFF; 9]].concat());
    all.extend(with_records(name).iter().map(bytes_of));
    let both = |bytes: Vec<u8>| [Via::Udp, Via::Tcp].map(|via| ask(via, bytes.clone()));
    all.into_iter().flat_map(both).collect()
}

/// Whole messages with other records than a question has.
fn with_records(name: &str) -> Vec<Message> {
    let question = |rtype| Question::new(Name::parse(name).unwrap(), rtype);
    let message = |opcode, rtype| Message {
        flags: flags(opcode),
        questions: vec![question(rtype)].into_iter().collect(),
        ..Message::default()
    };
    let address = || Record::new(Name::parse(name).unwrap(), Type::A, 60, Data::from_bytes(&[192, 0, 2, 1]));
    let plain = || message(Opcode::QUERY, Type::A);
    vec![
        Message { answers: vec![address()], ..plain() },
        Message { answers: vec![address(), address()], ..plain() },
        Message { authorities: vec![address()], ..plain() },
        Message { authorities: vec![address(), address()], ..plain() },
        Message { additionals: vec![address()], ..plain() },
        Message { additionals: vec![address(), address()], ..plain() },
        Message { additionals: vec![address(), address(), address()], ..plain() },
        Message { questions: Vec::new().into_iter().collect(), ..plain() },
        Message { questions: vec![question(Type::A), question(Type::A)].into_iter().collect(), ..plain() },
        Message { questions: vec![question(Type::A), question(Type::AAAA)].into_iter().collect(), ..plain() },
        message(Opcode::NOTIFY, Type::SOA),
        message(Opcode::NOTIFY, Type::A),
        message(Opcode::UPDATE, Type::SOA),
        message(Opcode::QUERY, Type(0)),
        message(Opcode::QUERY, Type::OPT),
        message(Opcode::QUERY, Type::AXFR),
        message(Opcode::QUERY, Type(249)),
        message(Opcode::QUERY, Type(250)),
        message(Opcode::QUERY, Type(253)),
        message(Opcode::QUERY, Type(65535)),
    ]
}

/// What has changed in a zone since this serial.
pub(crate) fn changes(zone: &str, serial: u32, via: Via) -> Ask {
    let name = Name::parse(zone).unwrap();
    let soa = Soa { mname: name.clone(), rname: name.clone(), serial, refresh: 0, retry: 0, expire: 0, minimum: 0 };
    let message = Message {
        questions: vec![Question::new(name.clone(), Type::IXFR)].into_iter().collect(),
        authorities: vec![Record::new(name, Type::SOA, 0, Data::soa(&soa))],
        ..Message::default()
    };
    ask(via, bytes_of(&message))
}

fn flags(opcode: Opcode) -> Flags {
    let mut flags = Flags::default();
    flags.set_opcode(opcode);
    flags
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn ask(via: Via, bytes: Vec<u8>) -> Ask {
    Ask { from: CLIENTS[0], via, bytes, size: if via == Via::Tcp { 65535 } else { 512 } }
}
