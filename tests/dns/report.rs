//! What was different, as people read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bowline_dns::wire::Message;

use crate::ask::Ask;
use crate::compare::Kind;

/// So many are shown in full.
const SHOWN: usize = 20;
/// So many records of a section are shown.
const LINES: usize = 12;

/// A difference.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    pub(crate) ask: Ask,
    pub(crate) ours: Option<Vec<u8>>,
    pub(crate) theirs: Option<Vec<u8>>,
}

/// The differences under one Corefile: how many of which kind, and the first of each.
pub(crate) fn show(corefile: &str, all: &[Difference]) -> String {
    let mut by_kind: BTreeMap<(Kind, String), Vec<&Difference>> = BTreeMap::new();
    for one in all {
        by_kind.entry((one.kind, one.ask.question().rtype.to_string())).or_default().push(one);
    }
    let mut text = String::new();
    for ((kind, rtype), some) in &by_kind {
        let _ = writeln!(text, "{:6} {kind:?} {rtype}", some.len());
    }
    let _ = writeln!(text, "The Corefile:\n{corefile}");
    let mut shown = 0;
    // In turn one of each kind.
    for round in 0..all.len() {
        for some in by_kind.values() {
            if let Some(one) = some.get(round).filter(|_| shown < SHOWN) {
                shown += 1;
                text += &one.show();
            }
        }
    }
    text
}

impl Difference {
    fn show(&self) -> String {
        let mut text = format!("---- {:?}, from {} over {:?}\n", self.kind, self.ask.from, self.ask.via);
        text += &section("asked", Some(&self.ask.bytes));
        text += &section("ours", self.ours.as_ref());
        text += &section("CoreDNS", self.theirs.as_ref());
        text
    }
}

fn section(who: &str, bytes: Option<&Vec<u8>>) -> String {
    let Some(bytes) = bytes else { return format!(";; {who}: nothing\n") };
    match Message::read(bytes) {
        Ok(message) => format!(";; {who}: {} bytes\n{}", bytes.len(), shown(&message)),
        Err(error) => format!(";; {who}: {error}: {bytes:02x?}\n"),
    }
}

/// A message as dig prints it.
fn shown(message: &Message) -> String {
    let flags = message.flags;
    let names = [
        ("qr", flags.qr()),
        ("aa", flags.aa()),
        ("tc", flags.tc()),
        ("rd", flags.rd()),
        ("ra", flags.ra()),
        ("z", flags.z()),
        ("ad", flags.ad()),
        ("cd", flags.cd()),
    ];
    let names: String = names.iter().filter(|(_, on)| *on).map(|(name, _)| format!(" {name}")).collect();
    let mut text = format!(";; {} {} flags:{names}", flags.opcode(), message.rcode());
    if let Some(edns) = &message.edns {
        let _ = write!(text, " EDNS {} size {} do {} flags {:x}", edns.version, edns.size, edns.dnssec_ok, edns.flags);
        for (code, data) in &edns.options {
            let _ = write!(text, " {code}={data:02x?}");
        }
    }
    text.push('\n');
    for question in &message.questions {
        let _ = writeln!(text, ";{question}");
    }
    let sections =
        [("ANSWER", &message.answers), ("AUTHORITY", &message.authorities), ("ADDITIONAL", &message.additionals)];
    for (name, records) in sections.iter().filter(|(_, records)| !records.is_empty()) {
        let _ = writeln!(text, ";; {name} {}", records.len());
        let lines = records.iter().take(LINES).map(|record| format!("{record}\n"));
        text.extend(lines);
        text += if records.len() > LINES { "...\n" } else { "" };
    }
    text
}
