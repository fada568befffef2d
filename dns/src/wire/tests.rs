//! Properties of any message: reading undoes writing, compression loses nothing, and a model cuts at the same record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Class, Data, Edns, Flags, Message, Name, Question, Record, Soa, Type, fuzz, u16_at};

/// Labels from few, so that names share their ends.
fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "A", "svc", "cluster", "local", "ns"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..=63),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    vec(label(), 0..6)
        .prop_map(|labels| labels.iter().rev().fold(Name::root(), |name, label| name.prepend(label).unwrap_or(name)))
}

fn typed() -> impl Strategy<Value = (Type, Data)> {
    let soa =
        |(mname, rname, serial)| Data::soa(&Soa { mname, rname, serial, refresh: 1, retry: 2, expire: 3, minimum: 4 });
    prop_oneof![
        any::<u32>().prop_map(|ip| (Type::A, Data::a(Ipv4Addr::from(ip)))),
        any::<u128>().prop_map(|ip| (Type::AAAA, Data::aaaa(Ipv6Addr::from(ip)))),
        (prop::sample::select(vec![Type::NS, Type::CNAME, Type::PTR, Type::DNAME]), name())
            .prop_map(|(rtype, name)| (rtype, Data::name(&name))),
        (any::<u16>(), name()).prop_map(|(port, name)| (Type::SRV, Data::srv(0, 1, port, &name))),
        (any::<u16>(), name()).prop_map(|(preference, name)| (Type::MX, Data::mx(preference, &name))),
        (name(), name(), any::<u32>()).prop_map(move |fields| (Type::SOA, soa(fields))),
        vec(vec(any::<u8>(), 0..300), 0..4)
            .prop_map(|texts| { (Type::TXT, Data::txt(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())) }),
        vec(any::<u8>(), 0..100).prop_map(|bytes| (Type(65280), Data::from_bytes(&bytes))),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (name(), typed(), any::<u32>()).prop_map(|(name, (rtype, data), ttl)| Record::new(name, rtype, ttl, data))
}

fn edns() -> impl Strategy<Value = Edns> {
    (any::<u16>(), any::<bool>(), vec((any::<u16>(), vec(any::<u8>(), 0..20)), 0..3))
        .prop_map(|(size, dnssec_ok, options)| Edns { options, ..Edns::new(size, dnssec_ok) })
}

fn message() -> impl Strategy<Value = Message> {
    let sections = (vec(record(), 0..30), vec(record(), 0..6), vec(record(), 0..6));
    (any::<(u16, u16)>(), name(), sections, prop::option::of(edns())).prop_map(|((id, flags), name, sections, edns)| {
        let (answers, authorities, additionals) = sections;
        let questions = [Question { name, rtype: Type::A, class: Class::IN }].into_iter().collect();
        Message { id, flags: Flags(flags), questions, answers, authorities, additionals, edns }
    })
}

/// Equality with the case of letters in the owners; data is compared by its bytes anyway.
fn same(a: &Message, b: &Message) -> bool {
    a == b && a.records().zip(b.records()).all(|(a, b)| a.name.eq_exact(&b.name))
}

/// A name written in the simplest way: a list of ends, searched letter by letter.
fn model_name(to: &mut Vec<u8>, ends: &mut BTreeMap<Vec<u8>, u16>, name: &[u8], compress: bool) {
    let mut rest = name;
    while rest[0] != 0 {
        if let Some(at) = ends.get(rest).filter(|_| compress) {
            return to.extend((0xC000 | at).to_be_bytes());
        }
        if to.len() < 1 << 14 {
            let at = to.len() as u16;
            ends.entry(rest.to_vec()).or_insert(at);
        }
        let (label, tail) = rest.split_at(1 + usize::from(rest[0]));
        to.extend(label);
        rest = tail;
    }
    to.push(0);
}

/// A record written in the simplest way.
fn model_record(to: &mut Vec<u8>, ends: &mut BTreeMap<Vec<u8>, u16>, record: &Record) {
    model_name(to, ends, record.name.as_wire(), true);
    to.extend(record.rtype.0.to_be_bytes());
    to.extend(record.class.0.to_be_bytes());
    to.extend(record.ttl.to_be_bytes());
    let at = to.len();
    to.extend([0, 0]);
    let data = record.data.as_bytes();
    match record.rtype {
        Type::NS | Type::CNAME | Type::PTR => model_name(to, ends, data, true),
        Type::DNAME => model_name(to, ends, data, false),
        Type::MX => {
            to.extend(&data[..2]);
            model_name(to, ends, &data[2..], true);
        }
        Type::SRV => {
            to.extend(&data[..6]);
            model_name(to, ends, &data[6..], false);
        }
        Type::SOA => {
            let soa = record.data.to_soa().unwrap();
            model_name(to, ends, soa.mname.as_wire(), true);
            model_name(to, ends, soa.rname.as_wire(), true);
            to.extend(&data[data.len() - 20..]);
        }
        _ => to.extend(data),
    }
    let length = (to.len() - at - 2) as u16;
    to[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// A whole message written in the simplest way.
fn model(message: &Message) -> Vec<u8> {
    let mut to = Vec::new();
    let mut ends = BTreeMap::new();
    let additionals = message.additionals.len() + usize::from(message.edns.is_some());
    let counts = [1, message.answers.len(), message.authorities.len(), additionals];
    to.extend(message.id.to_be_bytes());
    to.extend(message.flags.0.to_be_bytes());
    counts.iter().for_each(|count| to.extend((*count as u16).to_be_bytes()));
    for question in &message.questions {
        model_name(&mut to, &mut ends, question.name.as_wire(), true);
        to.extend([0, 1, 0, 1]);
    }
    message.records().for_each(|record| model_record(&mut to, &mut ends, record));
    if let Some(edns) = &message.edns {
        model_record(&mut to, &mut ends, &edns.to_record());
    }
    to
}

proptest! {
    #[test]
    fn reading_undoes_writing(message in message()) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let read = Message::read(&bytes).unwrap();
        prop_assert!(same(&read, &message), "{read:?}");
        prop_assert_eq!(bytes, model(&message));
    }

    #[test]
    fn a_cut_message_is_the_longest_front_that_fits(message in message(), size in 512_usize..2000) {
        let mut bytes = Vec::new();
        message.write_limited(&mut bytes, size);
        let read = Message::read(&bytes).unwrap();
        let opt = message.edns.as_ref().map_or(0, |edns| 11 + edns.to_record().data.as_bytes().len());
        let kept = read.records().count();
        prop_assert!(message.records().zip(read.records()).all(|(whole, kept)| whole == kept));
        prop_assert_eq!(&read.edns, &message.edns);
        if kept == message.records().count() {
            prop_assert!(same(&read, &message));
        } else {
            prop_assert!(read.flags.tc() && bytes.len() <= size.max(12 + 255 + 4 + opt));
        }
    }

    #[test]
    fn names_are_read_from_what_they_show(name in name()) {
        let again = Name::parse(&name.to_string()).unwrap();
        prop_assert!(again.eq_exact(&name));
        prop_assert_eq!(name.to_lower(), name);
    }

    #[test]
    fn names_are_ordered_as_their_reversed_lower_labels(a in name(), b in name()) {
        let key = |name: &Name| name.labels().rev().map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>();
        prop_assert_eq!(a.cmp(&b), key(&a).cmp(&key(&b)));
        prop_assert_eq!(a == b, key(&a) == key(&b));
        let (below, above): (Vec<_>, Vec<_>) = (key(&a), key(&b));
        prop_assert_eq!(a.is_within(&b), below.starts_with(&above));
        if let Some(front) = a.before(&b) {
            prop_assert_eq!(Name::join(front, &b).unwrap(), a);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..600)) {
        fuzz(&bytes);
    }

    #[test]
    fn a_message_with_any_bytes_changed_is_read_without_a_panic(
        message in message(),
        changes in vec((any::<usize>(), any::<u8>()), 1..8),
        length in any::<usize>(),
    ) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        for (at, byte) in changes {
            let end = bytes.len();
            bytes[at % end] = byte;
        }
        bytes.truncate(bytes.len() - length % 8);
        fuzz(&bytes);
        prop_assert_eq!(u16_at(&bytes, bytes.len() - 1).is_err(), true);
    }
}
