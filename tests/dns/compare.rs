//! Whether two answers say the same.

use bowline_dns::wire::{Data, Message, Record, Soa, Type};

use crate::case::Case;

/// What is different.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Silence,
    Unreadable,
    TooLong,
    Rcode,
    Flags,
    Question,
    Answers,
    Authorities,
    Additionals,
    Edns,
    Ttl,
    Cut,
}

/// Seconds by which a TTL that counts down may differ: the caches here keep most for so long, and each fetches anew in its
/// own time.
const COUNTED_DOWN: u32 = 30;
/// Serials that are a time, in seconds since 1970; those of zone files here are larger.
const TIMES: std::ops::Range<u32> = 1_700_000_000..1_990_000_000;

/// The first difference of two answers. `whole` gives CoreDNS's answer over TCP, for answers that were cut.
pub(crate) fn compare(
    case: &Case,
    [ours, theirs]: [Option<&Message>; 2],
    whole: impl FnOnce() -> Option<Message>,
) -> Option<Kind> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return (ours.is_some() != theirs.is_some()).then_some(Kind::Silence);
    };
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    if ours.rcode() != theirs.rcode() {
        return Some(Kind::Rcode);
    }
    // Whether an answer comes from the cache depends on which of two questions at the same time was first.
    let flags = |message: &Message| {
        let flags = message.flags.with_tc(false);
        if case.is_cached { flags.with_aa(false) } else { flags }
    };
    if flags(&ours) != flags(&theirs) {
        return Some(Kind::Flags);
    }
    let is_same = |(a, b): (&bowline_dns::wire::Question, &bowline_dns::wire::Question)| {
        a.name.eq_exact(&b.name) && a.rtype == b.rtype && a.class == b.class
    };
    if ours.questions.len() != theirs.questions.len() || !ours.questions.iter().zip(&theirs.questions).all(is_same) {
        return Some(Kind::Question);
    }
    if ours.edns != theirs.edns {
        return Some(Kind::Edns);
    }
    let is_cut = ours.flags.tc();
    if is_cut != theirs.flags.tc() {
        return Some(Kind::Cut);
    }
    for message in [&mut ours, &mut theirs] {
        for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
            section.iter_mut().for_each(without_own);
            if case.is_cached {
                // CoreDNS gives a cached answer in the letter case in which its first client asked.
                section.iter_mut().for_each(in_lower_case);
            }
            if !case.is_ordered {
                in_order(section);
            }
        }
    }
    if is_cut {
        return compare_cut(&ours, &theirs, whole);
    }
    let sections = [
        (Kind::Answers, &ours.answers, &theirs.answers),
        (Kind::Authorities, &ours.authorities, &theirs.authorities),
        (Kind::Additionals, &ours.additionals, &theirs.additionals),
    ];
    for (kind, ours, theirs) in sections {
        if ours.len() != theirs.len() || !ours.iter().zip(theirs).all(|(a, b)| is_like(a, b)) {
            return Some(kind);
        }
        let allowed = if case.is_cached { COUNTED_DOWN } else { 0 };
        if ours.iter().zip(theirs).any(|(a, b)| a.ttl.abs_diff(b.ttl) > allowed) {
            return Some(Kind::Ttl);
        }
    }
    None
}

/// What was kept is part of the whole, and as much.
fn compare_cut(ours: &Message, theirs: &Message, whole: impl FnOnce() -> Option<Message>) -> Option<Kind> {
    let Some(whole) = whole() else { return Some(Kind::Cut) };
    for (ours, theirs, whole) in [
        (&ours.answers, &theirs.answers, &whole.answers),
        (&ours.authorities, &theirs.authorities, &whole.authorities),
        (&ours.additionals, &theirs.additionals, &whole.additionals),
    ] {
        let mut whole = whole.clone();
        whole.iter_mut().for_each(without_own);
        // The whole has the letters in which CoreDNS writes.
        let is_part = |record: &Record, other: &Record| {
            let [record, other] = [record, other].map(|record| {
                let mut record = record.clone();
                in_lower_case(&mut record);
                record
            });
            is_like(&record, &other)
        };
        if !ours.iter().all(|record| whole.iter().any(|other| is_part(record, other))) {
            return Some(Kind::Cut);
        }
        // Which ones are kept is random, and they are of different lengths: so some more or less may fit.
        if ours.len().abs_diff(theirs.len()) > 2 + theirs.len() / 4 {
            return Some(Kind::Cut);
        }
    }
    None
}

fn in_lower_case(record: &mut Record) {
    record.name = record.name.to_lower();
    // Where they hold names; a length of a label is no letter.
    if matches!(record.rtype, Type::SOA | Type::SRV | Type::PTR | Type::CNAME | Type::NS) {
        record.data = Data::from_bytes(&record.data.as_bytes().to_ascii_lowercase());
    }
}

/// The same but for the TTL; letter case counts.
fn is_like(a: &Record, b: &Record) -> bool {
    a.name.eq_exact(&b.name) && a.rtype == b.rtype && a.class == b.class && a.data == b.data
}

/// Takes out what is each server's own: a serial that is the time of the last change, and in the answer of whoami
/// the port of the client, which asks each from another.
pub(crate) fn without_own(record: &mut Record) {
    if record.rtype == Type::SRV
        && let Some(srv) = record.data.to_srv()
        && (srv.priority, srv.weight, srv.target.is_root()) == (0, 0, true)
    {
        record.data = Data::srv(0, 0, 0, &srv.target);
    }
    if record.rtype == Type::SOA
        && let Some(soa) = record.data.to_soa()
        && TIMES.contains(&soa.serial)
    {
        record.data = Data::soa(&Soa { serial: 0, ..soa });
    }
}

/// Sorts each run of records whose order says nothing: those that both servers shuffle, or take from a map.
fn in_order(section: &mut [Record]) {
    let is_shuffled =
        |record: &Record| matches!(record.rtype, Type::A | Type::AAAA | Type::SRV | Type::PTR | Type::MX | Type::NS);
    for run in section.chunk_by_mut(|a, b| is_shuffled(a) && is_shuffled(b)) {
        run.sort_by(|a, b| {
            let key =
                |record: &Record| (record.rtype, record.name.to_string(), record.data.as_bytes().to_vec(), record.ttl);
            key(a).cmp(&key(b))
        });
    }
}
