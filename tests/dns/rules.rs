//! The differences that are meant. Each rule corrects CoreDNS's answer in one point; docs/dns-differences.md says why,
//! under the rule's name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use bowline_dns::wire::edns::option;
use bowline_dns::wire::{Message, Name, Opcode, Rcode, Record, Type};

use crate::ask::{Ask, Via};
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
    Rule { name: "Cookies", correct: |seen, theirs| cookie(seen, theirs?) },
    Rule { name: "NSID without nsid", correct: |seen, theirs| without_option(seen, theirs?, option::NSID) },
    Rule { name: "NSID of errors", correct: |seen, theirs| nsid_of_error(seen, theirs?) },
    Rule { name: "Flags of EDNS", correct: |_, theirs| edns_flags(theirs?) },
    Rule { name: "The DO bit", correct: |seen, theirs| dnssec_ok(seen, theirs?) },
    Rule { name: "OPT without OPT", correct: |seen, theirs| unasked_opt(seen, theirs?) },
    Rule { name: "Options of the upstream", correct: |seen, theirs| upstream_options(seen, theirs?) },
    Rule { name: "The question", correct: |seen, theirs| question(seen, theirs?) },
    Rule { name: "Aliases without data", correct: |seen, theirs| alias_without_data(seen, theirs?) },
    Rule { name: "Letter case", correct: |seen, theirs| letter_case(seen, theirs?) },
    Rule { name: "Unknown version of EDNS", correct: |seen, theirs| bad_version(seen, theirs?) },
    Rule { name: "Unknown opcodes", correct: |seen, theirs| unknown_opcode(seen, theirs?) },
    Rule { name: "The name server's own name", correct: |seen, theirs| name_server(seen, theirs?) },
    Rule { name: "The zone's name servers", correct: |seen, theirs| name_servers(seen, theirs?) },
    Rule { name: "Failures of a search", correct: |seen, theirs| failed_search(seen, theirs?) },
    Rule { name: "Aliases of several ports", correct: |seen, theirs| repeated_alias(seen, theirs?) },
    Rule { name: "Errors under dns64", correct: |seen, theirs| translated_error(seen, theirs?) },
    Rule { name: "Addresses of imported endpoints", correct: imported },
    Rule { name: "Addresses of ServiceImports", correct: |seen, theirs| import_address(seen, theirs?) },
    Rule { name: "The search path's first zone", correct: |seen, theirs| bare_search_path(seen, theirs?) },
    Rule { name: "DS below a zone", correct: |seen, theirs| ds_below_a_zone(seen, theirs?) },
    Rule { name: "DS among views", correct: |seen, theirs| ds_among_views(seen, theirs?) },
    Rule { name: "Circles and long chains of aliases", correct: |seen, theirs| circle(seen, theirs?) },
    Rule { name: "Empty names beside a wildcard", correct: |seen, theirs| empty_name(seen, theirs?) },
    Rule { name: UNDER_CACHE, correct: |seen, theirs| under_cache(seen, theirs?) },
    Rule { name: UNDER_MINIMAL, correct: |seen, theirs| under_minimal(seen, theirs?) },
    Rule { name: "The server's address", correct: |seen, theirs| server_address(seen, theirs?) },
    Rule { name: "Messages that end before the question", correct: |seen, theirs| without_question(seen, theirs?) },
    Rule { name: "Copies of what is no zone", correct: |seen, theirs| no_zone(seen, theirs?) },
    Rule { name: "Copies of a zone that has not changed", correct: |seen, theirs| unchanged(seen, theirs?) },
    Rule { name: TOO_LONG, correct: |_, _| None },
];

const UNDER_CACHE: &str = "Transfers and NOTIFY under cache";
const UNDER_MINIMAL: &str = "Transfers and NOTIFY under minimal";
const TOO_LONG: &str = "Names that DNAME makes too long";

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

/// The client's cookie sent back, where ours has one of the server behind it; a question for a cookie alone, and one of
/// a length that there isn't.
fn cookie(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.asked.edns.as_ref()?.option(option::COOKIE)?;
    let ours = seen.ours?;
    let own = ours.edns.as_ref()?.option(option::COOKIE);
    let is_right = matches!(asked.len(), 8 | 16..=40);
    if !is_right {
        return (ours.rcode() == Rcode::FORMERR && own.is_none()).then(|| ours.clone());
    }
    let own = own.filter(|own| own.len() == 24 && own[..8] == asked[..8] && own[8..12] == [1, 0, 0, 0])?;
    if seen.asked.questions.is_empty() {
        return [Rcode::NOERROR, Rcode::BADCOOKIE].contains(&ours.rcode()).then(|| ours.clone());
    }
    let mut theirs = theirs.clone();
    let options = &mut theirs.edns.as_mut()?.options;
    match options.iter_mut().find(|(code, _)| *code == option::COOKIE) {
        Some((_, data)) => *data = own.to_vec(),
        None => options.push((option::COOKIE, own.to_vec())),
    }
    // Options have no order (RFC 6891 §6.1.2).
    let order = |code: u16| ours.edns.as_ref().and_then(|edns| edns.options.iter().position(|(own, _)| *own == code));
    options.sort_by_key(|(code, _)| order(*code).unwrap_or(usize::MAX));
    // Ours is longer by that, and may be cut where theirs is not.
    let is_kept = |record: &Record| theirs.records().any(|other| other == record);
    Some(if ours.flags.tc() && ours.records().all(is_kept) { ours.clone() } else { theirs })
}

fn edns_flags(theirs: &Message) -> Option<Message> {
    let mut theirs = theirs.clone();
    let edns = theirs.edns.as_mut().filter(|edns| edns.flags != 0)?;
    edns.flags = 0;
    Some(theirs)
}

/// An answer that the server makes itself, without its plugins.
fn nsid_of_error(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let own = seen.ours?.edns.as_ref()?;
    let is_named = own.option(option::NSID).is_some_and(|name| !name.is_empty());
    let is_meant =
        is_named && theirs.rcode() == Rcode::SERVFAIL && theirs.edns.as_ref()?.option(option::NSID)?.is_empty();
    is_meant.then(|| Message { edns: Some(own.clone()), ..theirs.clone() })
}

fn dnssec_ok(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.asked.edns.as_ref()?.dnssec_ok;
    let mut theirs = theirs.clone();
    let edns = theirs.edns.as_mut().filter(|edns| edns.dnssec_ok != asked)?;
    edns.dnssec_ok = asked;
    Some(theirs)
}

fn unasked_opt(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    if seen.asked.edns.is_some() || theirs.edns.is_none() {
        return None;
    }
    // With the OPT record CoreDNS takes the client for one that takes more than 512 bytes.
    let ours = seen.ours?;
    let is_kept = |own: &Record| theirs.records().any(|record| record.name == own.name && record.data == own.data);
    let is_cut = ours.flags.tc() && ours.records().all(is_kept);
    Some(if is_cut { ours.clone() } else { Message { edns: None, ..theirs.clone() } })
}

fn upstream_options(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let own = &seen.ours?.edns.as_ref()?.options;
    let mut theirs = theirs.clone();
    let options = &mut theirs.edns.as_mut()?.options;
    // Those that servers send back as they came.
    let is_echo = |(code, _): &&(u16, Vec<u8>)| [option::EXPIRE, option::TCP_KEEPALIVE, option::PADDING].contains(code);
    let rest = |options: &[(u16, Vec<u8>)]| options.iter().filter(|one| !is_echo(one)).cloned().collect::<Vec<_>>();
    if !seen.case.text.contains("forward ") || options == own || rest(options) != rest(own) {
        return None;
    }
    options.clone_from(own);
    Some(theirs)
}

/// Names in ours that are spelt as in the question, and in CoreDNS's in other letters.
fn letter_case(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let (asked, ours) = (seen.ask.question().name, seen.ours?);
    let mut theirs = theirs.clone();
    let mut is_changed = false;
    let has_names = |rtype| matches!(rtype, Type::SOA | Type::SRV | Type::PTR | Type::CNAME | Type::NS | Type::DNAME);
    let in_lower_case = |record: &Record| {
        let data = record.data.as_bytes();
        // The numbers in front of an SRV's name are no letters; a length of a label isn't one either.
        if has_names(record.rtype) { data.to_ascii_lowercase() } else { data.to_vec() }
    };
    let is_meant = |own: &Record, record: &Record| {
        own.name == record.name
            && own.rtype == record.rtype
            && (is_spelt_as(&own.name, &asked) || begins_as(&own.name, &asked))
            && (in_lower_case(own) == in_lower_case(record) || is_soa_of(own, record))
    };
    let sections = [
        (&mut theirs.answers, &ours.answers),
        (&mut theirs.authorities, &ours.authorities),
        (&mut theirs.additionals, &ours.additionals),
    ];
    for (theirs, ours) in sections {
        for record in theirs {
            let own = ours.iter().find(|own| is_meant(own, record));
            if let Some(own) = own.filter(|own| !own.name.eq_exact(&record.name) || own.data != record.data) {
                (record.name, record.data) = (own.name.clone(), own.data.clone());
                is_changed = true;
            }
        }
    }
    // A name in other letters than the question's is no pointer to it: the answer is longer, and may be cut.
    let is_kept = |record: &Record| ours.records().any(|own| is_meant(own, record) || own == record);
    if is_changed && theirs.flags.tc() && !ours.flags.tc() && theirs.records().all(is_kept) {
        return Some(ours.clone());
    }
    is_changed.then_some(theirs)
}

/// Whether the end of a name is in the letters of the question's; in front of it, objects have letters of their own.
fn is_spelt_as(name: &Name, asked: &Name) -> bool {
    let labels = name.label_count().min(asked.label_count()).min(2);
    labels > 0 && name.suffix(labels).eq_exact(&asked.suffix(labels))
}

/// Whether a name has the question's first label, as what a DNAME makes of it has.
fn begins_as(name: &Name, asked: &Name) -> bool {
    let first = |name: &Name| name.to_string().split('.').next().map(str::to_owned);
    !name.is_root() && first(name) == first(asked)
}

/// The same SOA but for its serial.
fn is_soa_of(own: &Record, other: &Record) -> bool {
    let (Some(own), Some(other)) = (own.data.to_soa(), other.data.to_soa()) else { return false };
    own.mname == other.mname && own.rname == other.rname && own.minimum == other.minimum
}

/// What ours answers to is what was asked; that is looked at for itself.
fn question(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_another = theirs.questions.iter().zip(&seen.asked.questions).any(|(a, b)| !a.name.eq_exact(&b.name));
    is_another.then(|| Message { questions: seen.asked.questions.clone(), ..theirs.clone() })
}

/// An alias whose target has nothing of the type.
fn alias_without_data(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    let is_all = |records: &[Record], rtype| !records.is_empty() && records.iter().all(|record| record.rtype == rtype);
    let is_alias = |record: &Record| matches!(record.rtype, Type::CNAME | Type::DNAME);
    let is_meant = !ours.answers.is_empty()
        && ours.answers.iter().all(is_alias)
        && seen.ask.question().rtype != Type::CNAME
        && is_all(&ours.authorities, Type::SOA)
        && is_all(&theirs.authorities, Type::NS);
    is_meant.then(|| Message { authorities: ours.authorities.clone(), ..theirs.clone() })
}

/// The search path's own first zone, with nothing in front.
fn bare_search_path(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_meant = seen.case.text.contains("autopath @") && theirs.rcode() == Rcode::SERVFAIL;
    let name = seen.ask.question().name.to_string().to_ascii_lowercase();
    let is_namespace = ["web", "prod"].iter().any(|one| name == format!("{one}.svc.cluster.local."));
    (is_meant && is_namespace).then(|| seen.ours.cloned())?
}

fn ds_below_a_zone(seen: &Seen<'_>, _: &Message) -> Option<Message> {
    let asked = seen.ask.question();
    let mut blocks = seen.case.text.lines().filter(|line| line.ends_with('{') && !line.starts_with([' ', '(']));
    let is_below = |line: &str| {
        let keys = line.trim_end_matches('{').split_whitespace().filter_map(|key| Name::parse(key).ok());
        keys.into_iter().any(|zone| !zone.is_root() && asked.name.is_within(&zone) && asked.name != zone)
    };
    let count = blocks.by_ref().filter(|line| is_below(line)).count();
    (asked.rtype == Type::DS && count > 1).then(|| seen.ours.cloned())?
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

/// NS of a zone that is asked for with a capital letter.
fn name_servers(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let (asked, ours) = (seen.ask.question(), seen.ours?);
    let is_zone = |zone: &Name| asked.name == *zone && !asked.name.eq_exact(&zone.to_lower());
    let mut zones = seen.case.zones.iter().map(String::as_str).chain(["in-addr.arpa", "ip6.arpa"]);
    let is_meant = asked.rtype == Type::NS
        && zones.any(|zone| Name::parse(zone).is_ok_and(|zone| is_zone(&zone)))
        && theirs.answers.is_empty()
        && ours.answers.iter().any(|record| record.rtype == Type::NS);
    is_meant.then(|| ours.clone())
}

/// A name of a search is refused by an upstream.
fn failed_search(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_meant = seen.case.text.contains("autopath ") && theirs.rcode() == Rcode::REFUSED;
    (is_meant && seen.ours?.rcode() != Rcode::REFUSED).then(|| seen.ours.cloned())?
}

/// A name of `k8s_external` whose alias, and what that leads to, come once for each port.
fn repeated_alias(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let asked = seen.ask.question().name;
    let is_external = |zone: &String| Name::parse(zone).is_ok_and(|zone| asked.is_within(&zone));
    let mut once = Message { answers: Vec::new(), ..theirs.clone() };
    for record in &theirs.answers {
        if !once.answers.iter().any(|other| other == record && other.name.eq_exact(&record.name)) {
            once.answers.push(record.clone());
        }
    }
    let has_alias = once.answers.iter().any(|record| record.rtype == Type::CNAME);
    let is_meant = has_alias && once.answers.len() < theirs.answers.len();
    (is_meant && seen.case.external.iter().any(is_external)).then_some(once)
}

/// The question for A ends in an error, or that for AAAA in NXDOMAIN behind an alias, which is relayed as it is.
fn translated_error(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    let is_meant = seen.case.text.contains("dns64")
        && seen.ask.question().rtype == Type::AAAA
        && theirs.rcode() == Rcode::NOERROR
        && ours.rcode() != Rcode::NOERROR
        && theirs.answers.iter().all(|record| record.rtype != Type::AAAA);
    is_meant.then(|| {
        let mut theirs = theirs.clone();
        theirs.set_rcode(ours.rcode());
        if ours.rcode() == Rcode::NXDOMAIN {
            theirs.flags.set_aa(ours.flags.aa());
        }
        theirs
    })
}

fn imported(seen: &Seen<'_>, theirs: Option<&Message>) -> Option<Message> {
    let (asked, ours) = (seen.ask.question(), seen.ours?);
    let is_imported = |ip: IpAddr| MULTICLUSTER_ONLY.iter().any(|one| one.parse() == Ok(ip));
    let is_below = |labels: usize| asked.name.suffix(labels).to_ip().is_some_and(is_imported);
    let is_meant = asked.rtype == Type::PTR && (0..=asked.name.label_count()).any(is_below);
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

/// Aliases that lead to themselves, each once in ours; and a question for NS at the end of a chain that CoreDNS follows
/// no further.
fn circle(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    let is_alias = |record: &Record| record.rtype == Type::CNAME || record.rtype == Type::DNAME;
    let in_lower_case = |record: &Record| record.to_string().to_ascii_lowercase();
    let own: Vec<String> = ours.answers.iter().map(in_lower_case).collect();
    let is_known = |record: &Record| own.contains(&in_lower_case(record));
    if theirs.answers.len() < 9 || !theirs.answers.iter().all(is_known) {
        return None;
    }
    let is_of_aliases = ours.answers.iter().all(is_alias);
    let is_repeated = theirs.answers.len() > ours.answers.len() && theirs.rcode() == ours.rcode();
    let (is_ns, rcodes) = (seen.ask.question().rtype == Type::NS, (ours.rcode(), theirs.rcode()));
    let is_cut = is_ns && rcodes == (Rcode::NOERROR, Rcode::SERVFAIL);
    (is_of_aliases && (is_repeated || is_cut)).then(|| ours.clone())
}

/// A name without records that has names below it, or an alias to it.
fn empty_name(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let (asked, ours) = (seen.ask.question().name.to_string().to_ascii_lowercase(), seen.ours?);
    let is_there = ["empty.wild.odd.example.", "toempty.odd.example."].contains(&asked.as_str());
    let has_less =
        ours.answers.len() < theirs.answers.len() && ours.authorities.iter().all(|record| record.rtype == Type::SOA);
    (is_there && has_less).then(|| ours.clone())
}

/// A transfer, or NOTIFY.
fn is_no_question(seen: &Seen<'_>) -> bool {
    seen.asked.flags.opcode() == Opcode::NOTIFY || matches!(seen.ask.question().rtype, Type::AXFR | Type::IXFR)
}

/// What CoreDNS's `cache` answers from what it has, or with another TTL.
fn under_cache(seen: &Seen<'_>, _: &Message) -> Option<Message> {
    if seen.case.text.contains("cache") && is_no_question(seen) { seen.ours.cloned() } else { None }
}

/// What other plugins send themselves, which CoreDNS's `minimal` takes for no answer.
fn under_minimal(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_meant = seen.case.text.contains("minimal") && theirs.rcode() == Rcode::SERVFAIL;
    if is_meant && is_no_question(seen) { seen.ours.cloned() } else { None }
}

/// `server_ip()` of a datagram at a socket of all addresses: CoreDNS has none then.
fn server_address(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_meant = seen.case.text.contains("server_ip()") && seen.ask.via == Via::Udp && theirs.answers.len() == 1;
    let is_there = seen.ask.question().name.suffix(3).to_string().eq_ignore_ascii_case("e17.view.example.");
    let ours = seen.ours?;
    (is_meant && is_there && ours.answers.len() == 1)
        .then(|| Message { answers: ours.answers.clone(), ..theirs.clone() })
}

/// The SOA alone says that nothing has changed since the client's copy, or a newer one.
fn unchanged(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let ours = seen.ours?;
    let is_soa = |record: &Record| record.rtype == Type::SOA;
    let is_meant = seen.ask.question().rtype == Type::IXFR
        && ours.flags.aa()
        && ours.answers.len() == 1
        && ours.answers.iter().all(is_soa)
        && theirs.answers.first().is_some_and(is_soa);
    is_meant.then(|| ours.clone())
}

/// A transfer of a name below the cluster's zone, which CoreDNS gives with that name behind all others.
fn no_zone(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let (asked, ours) = (seen.ask.question(), seen.ours?);
    let is_zone = |zone: &String| Name::parse(zone).is_ok_and(|zone| zone == asked.name);
    let is_meant = matches!(asked.rtype, Type::AXFR | Type::IXFR)
        && (ours.rcode(), theirs.rcode()) == (Rcode::REFUSED, Rcode::NOERROR);
    (is_meant && !seen.case.zones.iter().any(is_zone)).then(|| ours.clone())
}

fn without_question(seen: &Seen<'_>, theirs: &Message) -> Option<Message> {
    let is_meant = seen.ask.bytes.len() == 12 && theirs.rcode() == Rcode::SERVFAIL;
    is_meant.then(|| {
        let mut theirs = theirs.clone();
        theirs.set_rcode(Rcode::FORMERR);
        theirs
    })
}

/// The rule for what CoreDNS sends and nobody can read.
pub(crate) fn unreadable(ours: &Message) -> Option<&'static str> {
    (ours.rcode() == Rcode::YXDOMAIN).then_some(TOO_LONG)
}

/// The rule for what CoreDNS answers and ours leaves without an answer.
pub(crate) fn silence(seen: &Seen<'_>, theirs: &Message) -> Option<&'static str> {
    if seen.ours.is_some() || seen.asked.flags.opcode() != Opcode::NOTIFY {
        return None;
    }
    let is_refused = seen.case.text.contains("minimal") && theirs.rcode() == Rcode::SERVFAIL;
    let is_cached = seen.case.text.contains("cache").then_some(UNDER_CACHE);
    if is_refused { Some(UNDER_MINIMAL) } else { is_cached }
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
    // What other tests ask has no rule here.
    let (text, _) = text.split_once("\n## Where others than that test ask\n").unwrap();
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(RULES.iter().any(|rule| rule.name == heading), "no rule of the test is called {heading}");
    }
}
