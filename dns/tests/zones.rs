//! Zones against CoreDNS itself: the same zone files behind both, the same questions, the answers compared section by
//! section. Where they differ, the difference is listed here with the sentence that justifies it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bowline_dns::feed::Feed;
use bowline_dns::plugin::Services;
use bowline_dns::server::{Running, Settings};
use bowline_dns::wire::{Edns, Message, Name, Question, Rcode, Record, Type};

struct CoreDns(Child);

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ask(port: u16, name: &Name, rtype: Type, dnssec: bool) -> Option<Vec<u8>> {
    let mut message = Message { id: fastrand::u16(..), edns: Some(Edns::new(4096, dnssec)), ..Message::default() };
    message.questions.push(Question::new(name.clone(), rtype));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.send(&bytes).ok()?;
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

fn read(bytes: &[u8]) -> Message {
    Message::read(bytes).unwrap()
}

/// A second opinion: what hickory-proto reads of an answer is what we wrote.
fn is_read_alike(bytes: &[u8], ours: &Message) -> Result<(), String> {
    let theirs = hickory_proto::op::Message::from_vec(bytes).map_err(|error| format!("hickory-proto: {error}"))?;
    let counts = [&theirs.answers, &theirs.authorities, &theirs.additionals].map(Vec::len);
    let own = [&ours.answers, &ours.authorities, &ours.additionals].map(Vec::len);
    if counts != own {
        return Err(format!("hickory-proto counts {counts:?} records, we {own:?}"));
    }
    let of_theirs = theirs.answers.iter().chain(&theirs.authorities).chain(&theirs.additionals);
    for (record, own) in of_theirs.zip(ours.records()) {
        let read = (record.name.to_string().to_lowercase(), u16::from(record.record_type()), record.ttl);
        let written = (own.name.to_string().to_lowercase(), own.rtype.0, own.ttl);
        if read != written {
            return Err(format!("hickory-proto reads {read:?}, we wrote {written:?}"));
        }
    }
    Ok(())
}

/// Records as a set of lines in lower case: their order within a section is free.
fn lines(records: &[Record]) -> BTreeSet<String> {
    records.iter().map(|record| record.to_string().to_lowercase()).collect()
}

/// An answer in a form to compare and to show.
fn told(message: &Message) -> String {
    let sections = [&message.answers, &message.authorities, &message.additionals].map(|records| lines(records));
    format!("{} aa={} {sections:#?}", message.rcode(), message.flags.aa())
}

/// Why an answer may differ from CoreDNS's; None: it may not.
fn excuse(name: &str, rtype: Type, dnssec: bool, ours: &Message, theirs: &Message) -> Option<&'static str> {
    let name = name.to_lowercase();
    let soa = |message: &Message| message.authorities.iter().find(|record| record.rtype == Type::SOA).cloned();
    let same = lines(&ours.answers) == lines(&theirs.answers) && ours.rcode() == theirs.rcode();
    // CoreDNS takes some of the types that stand beside an alias for the alias's own.
    let is_rest_the_same = lines(&ours.additionals) == lines(&theirs.additionals);
    if same && !ours.answers.is_empty() && soa(ours).is_some() && soa(ours) != soa(theirs) && is_rest_the_same {
        return Some("RFC 2308 §2.1, §2.2: an alias to no such records has the SOA of the zone where it ends");
    }
    if name == "ent.wild.example.org." {
        return Some("RFC 4592 §2.2.2: a name with names below it is there; no wildcard stands for it");
    }
    if dnssec && same && lines(&ours.authorities).is_superset(&lines(&theirs.authorities)) {
        return Some("RFC 4035 §3.1.3, §3.1.4: the proofs of absence are whole");
    }
    let below_empty = ["x.ent.wild.", "under.empty.", ".empty.", "below.target.", "emptywild."];
    if dnssec && same && below_empty.iter().any(|part| name.contains(part)) {
        return Some("RFC 4592 §3.3.1: the closest encloser may be a name without records; its wildcard is denied");
    }
    if dnssec && name.ends_with(".aliases.example.org.") && rtype != Type::CNAME {
        return Some("RFC 4035 §3.1.3.3: the signature of what a wildcard makes is owned by the name asked for");
    }
    let is_longer = lines(&ours.answers).is_superset(&lines(&theirs.answers));
    if rtype == Type::NS && ours.rcode() == Rcode::NOERROR && theirs.rcode() == Rcode::SERVFAIL && is_longer {
        return Some(
            "RFC 1034 §3.6.2, §4.3.2: a chain that is followed no further is an answer, for NS as for other types",
        );
    }
    if matches!(rtype, Type::RRSIG | Type::NSEC) {
        return Some("RFC 4035 §2.5: NSEC and RRSIG stand beside a CNAME; the apex has all its RRSIGs");
    }
    None
}

#[test]
fn answers_are_those_of_coredns() {
    let folder = tempfile::tempdir().unwrap();
    let zones = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones");
    for zone in ["example.org.zone", "example.net.zone"] {
        std::fs::copy(zones.join(zone), folder.path().join(zone)).unwrap();
    }
    let corefile = |port: u16| {
        let conf = folder.path().join(format!("Corefile.{port}"));
        let folder = folder.path().display();
        let text = format!(
            "example.org:{port} {{\nbind 127.0.0.1\nroot {folder}\nfile example.org.zone\n}}\n\
             example.net:{port} {{\nbind 127.0.0.1\nroot {folder}\nfile example.net.zone\n}}\n"
        );
        std::fs::write(&conf, text).unwrap();
        conf
    };
    let (theirs, ours) = (free_port(), free_port());
    let mut command = Command::new(bowline_lab::kubernetes::binary("coredns").unwrap());
    let command = command.arg("-conf").arg(corefile(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let _coredns = CoreDns(command.spawn().unwrap());
    let services = Services::new(Arc::new(Feed::default()), Vec::new(), "test");
    let settings = Settings { conf: corefile(ours), port: 53, threads: 1, prepare: None, ahead: None };
    let running = Running::start(settings, Arc::new(services)).unwrap();
    let soa = Name::parse("example.org.").unwrap();
    bowline_lab::wait_for("CoreDNS answers", Duration::from_secs(60), || {
        ask(theirs, &soa, Type::SOA, false).is_some_and(|answer| read(&answer).rcode() == Rcode::NOERROR)
    })
    .unwrap();
    let types = [
        Type::A,
        Type::AAAA,
        Type::MX,
        Type::TXT,
        Type::NS,
        Type::SOA,
        Type::CNAME,
        Type::DNAME,
        Type::DS,
        Type::SRV,
        Type::HTTPS,
        Type::SVCB,
        Type::NSEC,
        Type::RRSIG,
        Type::ANY,
        Type::PTR,
        Type::CDS,
        Type::CDNSKEY,
        Type::CERT,
    ];
    let (mut asked, mut excused, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for name in names() {
        for rtype in types {
            for dnssec in [false, true] {
                let at = Name::parse(&name).unwrap();
                let bytes = ask(ours, &at, rtype, dnssec).unwrap();
                let our = read(&bytes);
                if let Err(why) = is_read_alike(&bytes, &our) {
                    wrong.push(format!("{name} {rtype} DO={dnssec}: {why}"));
                }
                let Some(their) = ask(theirs, &at, rtype, dnssec).map(|bytes| read(&bytes)) else {
                    panic!("CoreDNS does not answer {name} {rtype} DO={dnssec}; ours {}", told(&our));
                };
                asked += 1;
                if told(&our) == told(&their) {
                    continue;
                }
                match excuse(&name, rtype, dnssec, &our, &their) {
                    Some(why) => drop(excused.insert(format!("{why}: {name} {rtype}"))),
                    None => {
                        wrong.push(format!("{name} {rtype} DO={dnssec}\nours {}\ntheirs {}", told(&our), told(&their)));
                    }
                }
            }
        }
    }
    running.stop();
    println!("{asked} questions, {} with a justified difference: {excused:#?}", excused.len());
    assert!(wrong.is_empty(), "{} of {asked} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every name of the zone, names above, below and beside it, and others in the letters of a careless typist.
fn names() -> BTreeSet<String> {
    let owners = [
        "",
        "ns1",
        "a",
        "alias",
        "chain",
        "dangling",
        "outside",
        "gone",
        "todeleg",
        "towild",
        "notype",
        "mail",
        "mixedcase",
        "wild",
        "*.wild",
        "any.wild",
        "two.labels.wild",
        "exact.wild",
        "x.exact.wild",
        "ent.wild",
        "below.ent.wild",
        "x.ent.wild",
        "aliases",
        "one.aliases",
        "empty",
        "under.empty",
        "deep.under.empty",
        "emptywild",
        "q.emptywild",
        "*.emptywild",
        "x.*.emptywild",
        "sub",
        "ns.sub",
        "hidden.sub",
        "host.sub",
        "unsigned",
        "x.unsigned",
        "moved",
        "x.moved",
        "y.moved",
        "none.moved",
        "away",
        "www.away",
        "none.away",
        "srv",
        "svc",
        "has\\.dot",
        "has.dot",
        "www",
        "host-1",
        "host-4",
        "target",
        "x.target",
        "nope",
        "a.nope",
        "c1",
        "c2",
        "c3",
        "x.self",
        "a.self",
        "*.own",
        "a.own",
        "back",
        "a.over",
        "x.over",
        "a.ping",
        "mnemonic",
        "mnemonics",
        "zzz",
        "0",
    ];
    let mut names = BTreeSet::new();
    for owner in owners {
        let name = if owner.is_empty() { "example.org.".to_owned() } else { format!("{owner}.example.org.") };
        names.insert(format!("below.{name}"));
        names.insert(name.replacen('e', "E", 1));
        names.insert(name);
    }
    names
}
