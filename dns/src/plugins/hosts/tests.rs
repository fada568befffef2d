//! `hosts`, by both ways, with the fragments of CoreDNS's README.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::plugins::testing::{ask, ask_fast, build, question, refused, services, shown};
use crate::server::Instance;
use crate::wire::Message;

const FILE: &str = "# The following lines are desirable for IPv4 capable hosts\n\
    127.0.0.1 localhost\n192.168.1.10 example.com example # two names\n\
    ::1 localhost ip6-localhost ip6-loopback\nfdfc:a744:27b5:3b0e::1%eth0 Example.com\nnonsense name\n10.0.0.9\n";

/// A server with this directive, and a hosts file in its folder.
fn with(directive: &str) -> (Instance, tempfile::TempDir, Arc<crate::plugin::Services>) {
    let (folder, services) = (tempfile::tempdir().unwrap(), services());
    std::fs::write(folder.path().join("example.hosts"), FILE).unwrap();
    let text = format!(". {{\n{directive}\nwhoami\n}}\n");
    (build(&text, folder.path(), &services).unwrap(), folder, services)
}

/// The answer, which must be the same by both ways where the fast way has one.
fn both(instance: &Instance, name: &str, rtype: Type) -> Message {
    let asked = question(name, rtype);
    let slow = ask(instance, &asked);
    if let Some(fast) = ask_fast(instance, &asked) {
        assert_eq!(fast, slow, "{name} {rtype}");
    }
    slow
}

/// `whoami` answers with no answers and something more: it shows what was passed on.
fn is_passed_on(message: &Message) -> bool {
    !message.additionals.is_empty()
}

#[test]
fn addresses_names_and_what_is_not_there() {
    let (instance, _folder, services) = with("hosts example.hosts");
    let answer = both(&instance, "EXAMPLE.com.", Type::A);
    assert_eq!(shown(&answer), ["EXAMPLE.com. A 192.168.1.10"]);
    assert!(answer.flags.aa() && answer.answers[0].ttl == 3600);
    assert!(ask_fast(&instance, &question("example.com.", Type::A)).is_some());
    assert_eq!(shown(&both(&instance, "example.com.", Type::AAAA)), ["example.com. AAAA fdfc:a744:27b5:3b0e::1"]);
    let ptr = both(&instance, "10.1.168.192.in-addr.arpa.", Type::PTR);
    let names = ["10.1.168.192.in-addr.arpa. PTR example.com.", "10.1.168.192.in-addr.arpa. PTR example."];
    assert_eq!(shown(&ptr), names);
    // The name is there, the type is not: NODATA. No such name, and no fallthrough: SERVFAIL, as there is no SOA.
    let answer = both(&instance, "example.com.", Type::TXT);
    assert!(answer.rcode() == Rcode::NOERROR && answer.answers.is_empty() && !is_passed_on(&answer));
    assert_eq!(both(&instance, "other.com.", Type::A).rcode(), Rcode::SERVFAIL);
    // An unknown address is always passed on.
    assert!(is_passed_on(&both(&instance, "1.1.168.192.in-addr.arpa.", Type::PTR)));
    let page = services.metrics.page();
    assert!(page.contains("example.hosts\"} 14\n"), "{page}");
    assert!(page.contains("coredns_hosts_reload_timestamp_seconds "), "{page}");
}

#[test]
fn wildcards_stand_for_one_label() {
    let (instance, ..) = with(
        "hosts example.hosts example.com {\n192.168.1.10 *.example.com\n\
        192.168.1.11 www.example.com\nfallthrough example.com\n}",
    );
    assert_eq!(shown(&both(&instance, "apps.example.com.", Type::A)), ["apps.example.com. A 192.168.1.10"]);
    assert_eq!(shown(&both(&instance, "www.example.com.", Type::A)), ["www.example.com. A 192.168.1.11"]);
    assert!(is_passed_on(&both(&instance, "deep.apps.example.com.", Type::A)));
    assert_eq!(shown(&both(&instance, "example.com.", Type::A)), ["example.com. A 192.168.1.10"]);
    // Outside of its zones, and by its address: wildcards have no PTR.
    assert!(is_passed_on(&both(&instance, "localhost.", Type::A)));
    assert_eq!(shown(&both(&instance, "10.1.168.192.in-addr.arpa.", Type::PTR)).len(), 1);
}

#[test]
fn file_and_corefile_add_up() {
    let (instance, ..) = with("hosts example.hosts {\n10.0.0.1 example.com\nttl 60\nno_reverse\nfallthrough\n}");
    let answer = both(&instance, "example.com.", Type::A);
    assert_eq!(shown(&answer), ["example.com. A 192.168.1.10", "example.com. A 10.0.0.1"]);
    assert_eq!(answer.answers[0].ttl, 60);
    assert!(is_passed_on(&both(&instance, "1.0.0.10.in-addr.arpa.", Type::PTR)));
    assert!(is_passed_on(&both(&instance, "nowhere.", Type::A)));
}

#[test]
fn other_types_are_passed_on_if_that_is_wished() {
    let (instance, ..) = with("hosts {\n10.0.0.1 example.org\nfallthrough\nfallthrough_unsupported\n}");
    assert!(is_passed_on(&both(&instance, "example.org.", Type::TXT)));
    assert!(!is_passed_on(&both(&instance, "example.org.", Type::AAAA)));
}

#[test]
fn the_file_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.1 a.example\n").unwrap();
    let file = Arc::new(File { path: path.clone(), table: ArcSwap::default() });
    let zones = Zones::new([crate::wire::Name::root()]);
    let options = Options { ttl: 1, reverse: true };
    let (entries, reloaded) = <(Arc<Gauge>, Arc<Gauge>)>::default();
    let (gauge, seen) = (entries.clone(), None);
    let mut reader = Reader { file: file.clone(), zones, options, inline_entries: 1, entries, reloaded, seen };
    reader.look();
    assert_eq!((file.table.load().entries, gauge.get()), (2, 3.0));
    std::fs::write(&path, "10.0.0.1 a.example b.example\n").unwrap();
    reader.look();
    assert_eq!(file.table.load().entries, 4);
    // A file that is gone leaves what it said.
    std::fs::remove_file(&path).unwrap();
    reader.look();
    assert_eq!(file.table.load().entries, 4);
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("hosts\nhosts", "Corefile:3: hosts: stands twice"),
        ("hosts f {\nttl x\n}", "Corefile:3: ttl: \"x\" is not a number of seconds from 1 to 65535"),
        ("hosts f {\nttl 0\n}", "0 is not a number"),
        ("hosts f {\nttl\n}", "is missing"),
        ("hosts f {\nreload -5s\n}", "is not a duration"),
        ("hosts f {\nfallthrough\n10.0.0.1 late.example\n}", "stand before fallthrough"),
        ("hosts f {\nfallthrough_unsupported\n}", "needs fallthrough"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
    assert!(build(". {\nhosts\n}\n", Path::new("/"), &services()).is_ok());
}
