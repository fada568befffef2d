//! What the fuzzer calls: the promises that hold for any bytes.
use super::text::{record_from_text, zone};
use super::walk::{Outline, Section};
use super::{Message, Name, Record, Type, WireError, walk, whole};

/// Takes any bytes as a message, as a name, and as a zone file.
///
/// # Panics
/// Never, or there is a defect: what is read and written must be read the same again, and what is shown as text too.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    for at in [0, bytes.len() / 2, bytes.len()] {
        if let Ok((name, _)) = Name::read(bytes, at) {
            assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Ok(&name));
            assert!(Name::parse(&name.to_string()).is_ok_and(|again| again.eq_exact(&name)), "{name}");
        }
    }
    let outlines: Result<Vec<Outline>, WireError> = walk::records(bytes).collect();
    if whole::check(bytes).is_ok() {
        // It is stricter than reading and outlining.
        assert!(Message::read(bytes).is_ok() && outlines.is_ok(), "{:?} {outlines:?}", Message::read(bytes));
    }
    if let Ok(message) = Message::read(bytes) {
        rewritten(&message);
        message.records().for_each(reshown);
        if let Ok(outlines) = outlines {
            outlined(&message, &outlines);
        }
    }
    let root = Name::root();
    for record in zone::Records::from_text(bytes, "fuzz.zone", &root).take(100).flatten() {
        reshown(&record);
    }
}

/// What was read is written so that it is read the same again; cut, it fits and still can be read.
fn rewritten(message: &Message) {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let again = Message::read(&bytes);
    assert_eq!(again.as_ref(), Ok(message));
    bytes.clear();
    message.write_limited(&mut bytes, 512);
    let cut = Message::read(&bytes);
    assert!(cut.is_ok(), "{cut:?}");
}

/// A record's text is read as the same record; TSIG, TKEY and OPT have no text.
fn reshown(record: &Record) {
    if matches!(record.rtype, Type::TSIG | Type::TKEY | Type::NONE) || record.rtype == Type::OPT {
        return;
    }
    let text = record.to_string();
    assert_eq!(record_from_text(&text, None).as_ref(), Ok(record), "{text}");
}

/// The outline finds the records that reading finds.
fn outlined(message: &Message, outlines: &[Outline]) {
    let count = |section| outlines.iter().filter(|outline| outline.section == section).count();
    assert_eq!(count(Section::Answer), message.answers.len());
    assert_eq!(count(Section::Authority), message.authorities.len());
    assert_eq!(count(Section::Additional), message.additionals.len() + usize::from(message.edns.is_some()));
}
