//! The differences that are meant. Each rule corrects CoreDNS's answer in one point; docs/dns-differences.md says why,
//! under the rule's name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use bowline_dns::wire::edns::option;
use bowline_dns::wire::{Data, Message, Name, Rcode, Record, Soa, Type};

use crate::ask::Ask;
use crate::case::Case;
use crate::ground::MULTICLUSTER_ONLY;

/// What a rule looks at.
pub(crate) struct Seen<'a> {
    pub(crate) case: &'a Case,
    pub(crate) ask: &'a Ask,
    pub(crate) asked: &'a Message,
    pub(crate) ours: Option<&'a Message>,
}

/// A difference that is meant.
pub(crate) struct Rule {
    /// Its heading in docs/dns-differences.md.
    pub(crate) name: &'static str,
    /// CoreDNS's answer as it should be; None where the rule has nothing to say.
    correct: fn(&Seen<'_>, Option<&Message>) -> Option<Message>,
}

/// All of them, in the order in which they are applied.
const RULES: &[Rule] = &[
    Rule { name: "Cookies", correct: |seen, theirs| without_option(seen, theirs?, option::COOKIE) },
    Rule { name: "NSID without nsid", correct: |seen, theirs| without_option(seen, theirs?, option::NSID) },
    Rule { name: "Flags of EDNS", correct: |_, theirs| edns_flags(theirs?) },
    Rule { name: "The DO bit", correct: |seen, theirs| dnssec_ok(seen, theirs?) },
    Rule { name: "OPT without OPT", correct: |seen, theirs| unasked_opt(seen, theirs?) },
    Rule { name: "Options of the upstream", correct: |seen, theirs| upstream_options(seen, theirs?) },
    Rule { name: "Letter case", correct: |seen, theirs| letter_case(seen, theirs?) },
    Rule { name: "Unknown version of EDNS", correct: |seen, theirs| bad_version(seen, theirs?) },
    Rule { name: "Unknown opcodes", correct: |seen, theirs| unknown_opcode(seen, theirs?) },
    Rule { name: "The name server's own name", correct: |seen, theirs| name_server(seen, theirs?) },
    Rule { name: "Addresses of imported endpoints", correct: imported },
    Rule { name: "Addresses of ServiceImports", correct: |seen, theirs| import_address(seen, theirs?) },
    Rule { name: "DS among views", correct: |seen, theirs| ds_among_views(seen, theirs?) },
];

static USED: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

/// CoreDNS's answer with all that is meant taken out of it, and the rules that did it.
pub(crate) fn corrected(seen: &Seen<'_>, theirs: Option<&Message>) -> (Option<Message>, Vec<&'static str>) {
    let (mut theirs, mut names) = (theirs.cloned(), Vec::new());
    for rule in RULES {
        if let Some(corrected) = (rule.correct)(seen, theirs.as_ref()) {
            theirs = Some(corrected);
            names.push(rule.name);
        }
    }
    (theirs, names)
}

/// These made two answers equal.
pub(crate) fn count(names: &[&'static str]) {
    let mut used = USED.lock().unwrap();
    names.iter().for_each(|name| *used.entry(name).or_default() += 1);
}

/// How often each was needed.
pub(crate) fn used() -> BTreeMap<&'static str, usize> {
    USED.lock().unwrap().clone()
}

fn without_option(seen: &Seen<'_>, theirs: &Message, code: u16) -> Option<Message> {
    let mut theirs = theirs.clone();
    let edns = theirs.edns.as_mut()?;
    let asked = seen.asked.edns.as_ref()?;
    // Only what is the client's own, sent back.
    let is_echo = |(other, data): &(u16, Vec<u8>)| *other == code && asked.options.contains(&(code, data.clone()));
    if seen.ours?.edns.as_ref()?.option(code).is_some() || !edns.options.iter().any(is_echo) {
        return None;
    }
    edns.options.retain(|one| !is_echo(one));
    Some(theirs)
}

fn edns_flags(theirs: &Message) -> Option<Message> {
    let mut theirs = theirs.clone();
    let edns = theirs.edns.as_mut().filter(|edns| edns.flags != 0)?;
    edns.flags = 0;
    Some(theirs)
}

fn dnssec_ok(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.asked.edns.as_ref()?.dnssec_ok;
    let mut theirs = theirs.clone();
    let edns = theirs.edns.as_mut().filter(|edns| edns.dnssec_ok != asked)?;
    edns.dnssec_ok = asked;
    Some(theirs)
}

fn unasked_opt(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_unasked = seen.asked.edns.is_none() && theirs.edns.is_some();
    is_unasked.then(|| Message { edns: None, ..theirs.clone() })
}

fn upstream_options(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    seen.case.text.contains("forward ").then_some(())?;
    without_option(seen, theirs, option::TCP_KEEPALIVE)
}

/// Owners that are the question's name, and zones that it is in, in the letters of the question.
fn letter_case(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.ask.question().name;
    let mut theirs = theirs.clone();
    let mut is_changed = false;
    let mut respell = |name: &mut Name| {
        let respelt = asked.suffix(name.label_count());
        if *name == respelt && !name.eq_exact(&respelt) {
            *name = respelt;
            is_changed = true;
        }
    };
    theirs.questions.iter_mut().for_each(|question| respell(&mut question.name));
    // Only as far as ours does it.
    let ours = seen.ours?;
    let sections = [(&mut theirs.answers, &ours.answers), (&mut theirs.authorities, &ours.authorities)];
    for (theirs, ours) in sections {
        let is_respelt = |record: &Record| {
            let mut own = ours.iter().filter(|own| own.name == record.name && own.rtype == record.rtype);
            own.any(|own| !own.name.eq_exact(&record.name))
        };
        theirs.iter_mut().filter(|record| is_respelt(record)).for_each(|record| {
            respell(&mut record.name);
            if let Some(soa) = record.data.to_soa().filter(|_| record.rtype == Type::SOA) {
                let own = ours.iter().filter_map(|own| own.data.to_soa()).next();
                let names = own.filter(|own| own.mname == soa.mname && own.rname == soa.rname);
                if let Some(own) = names {
                    record.data = Data::soa(&Soa { mname: own.mname, rname: own.rname, ..soa });
                }
            }
        });
    }
    is_changed.then_some(theirs)
}

fn bad_version(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    if [ours, theirs].iter().any(|message| message.rcode() != Rcode::BADVERS) {
        return None;
    }
    Some(Message { edns: ours.edns.clone(), ..theirs.clone() })
}

fn unknown_opcode(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    if theirs.rcode() != Rcode::NOTIMP || !theirs.questions.is_empty() {
        return None;
    }
    let (questions, edns) = (ours.questions.clone(), ours.edns.clone());
    let flags = theirs.flags.with_rd(false).with_ad(false).with_cd(false);
    Some(Message { questions, edns, flags, ..theirs.clone() })
}

fn name_server(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.ask.question();
    let is_name = |zone: &String| asked.name.to_string().to_ascii_lowercase() == format!("ns.dns.{zone}.");
    let ours = seen.ours?;
    let is_meant = seen.case.zones.iter().any(is_name) && theirs.rcode() == Rcode::NXDOMAIN;
    (is_meant && ours.rcode() == Rcode::NOERROR).then(|| ours.clone())
}

fn imported(seen: &Seen<'_>, theirs: Option<&Message>) -> Option<Message> {
    let (asked, ours) = (seen.ask.question(), seen.ours?);
    let is_imported = |ip: IpAddr| MULTICLUSTER_ONLY.iter().any(|one| one.parse() == Ok(ip));
    let is_meant = asked.rtype == Type::PTR && asked.name.to_ip().is_some_and(is_imported);
    (is_meant && theirs.is_none() && ours.answers.is_empty()).then(|| ours.clone())
}

fn import_address(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let (asked, ours) = (seen.ask.question(), seen.ours?);
    let is_meant = asked.rtype == Type::PTR
        && seen.case.text.contains("multicluster")
        && theirs.rcode() == Rcode::NXDOMAIN
        && !ours.answers.is_empty()
        && ours.answers.iter().all(|record| record.data.shown(Type::PTR).to_string().ends_with(".clusterset.local."));
    is_meant.then(|| ours.clone())
}

fn ds_among_views(seen: &Seen<'_>, _: &Message) -> Option<Message> {
    (seen.ask.question().rtype == Type::DS && seen.case.text.contains(" view ")).then(|| seen.ours.cloned())?
}

#[test]
fn each_is_explained() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dns-differences.md");
    let text = std::fs::read_to_string(path).unwrap();
    for rule in RULES {
        assert!(
            text.contains(&format!("\n### {}\n", rule.name)),
            "docs/dns-differences.md doesn't explain {}",
            rule.name
        );
    }
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(RULES.iter().any(|rule| rule.name == heading), "no rule of the test is called {heading}");
    }
}
