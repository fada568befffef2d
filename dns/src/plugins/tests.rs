//! The small plugins, each with the fragments of CoreDNS's pages on them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::asker::{Asker, question, refusal, shown, with_edns};
use crate::address::Transport;
use crate::wire::edns::option;
use crate::wire::{Class, Rcode};

#[test]
fn any_is_answered_by_hinfo() {
    let asker = Asker::new(". {\n any\n whoami\n}");
    assert_eq!(asker.answers("Example.org.", "ANY"), ["Example.org. 8482 IN HINFO \"ANY obsoleted\" \"See RFC 8482\""]);
    assert_eq!(asker.ask("example.org.", "A").additionals.len(), 2);
    assert!(refusal(". {\n any all\n}").contains("Corefile:2: any: takes no argument"));
}

#[test]
fn bufsize_lowers_what_a_client_asks_for() {
    let asker = Asker::new(". {\n bufsize 1100\n whoami\n}");
    let size = |message| asker.send_plainly(&message).edns.map(|edns| edns.size);
    assert_eq!(size(with_edns("a.", "A")), Some(1100));
    let mut small = with_edns("a.", "A");
    small.edns.as_mut().unwrap().size = 600;
    assert_eq!(size(small), Some(600));
    assert_eq!(size(question("a.", "A")), None);
    for wrong in ["bufsize 511", "bufsize 4097", "bufsize x", "bufsize 1 2"] {
        assert!(refusal(&format!(". {{\n {wrong}\n}}")).contains("Corefile:2: bufsize"), "{wrong}");
    }
    Asker::new(". {\n bufsize\n}");
}

#[test]
fn minimal_leaves_out_what_is_beside_the_answer() {
    let asker = Asker::new(". {\n minimal\n whoami\n}");
    // What whoami says stands beside the answer.
    assert!(asker.ask("a.", "A").additionals.is_empty());
    let asker = Asker::new("localhost {\n minimal\n local\n}");
    assert_eq!(asker.ask("localhost.", "TXT").authorities.len(), 1);
}

#[test]
fn nsid_is_told_to_who_asks() {
    let asker = Asker::new(". {\n nsid a server of mine\n whoami\n}");
    let mut asked = with_edns("a.", "A");
    assert!(asker.send_plainly(&asked).edns.unwrap().options.is_empty());
    asked.edns.as_mut().unwrap().options.push((option::NSID, Vec::new()));
    let answer = asker.send_plainly(&asked);
    assert_eq!(answer.edns.unwrap().option(option::NSID), Some(&b"a server of mine"[..]));
    let failing = Asker::new(". {\n nsid mine\n template ANY ANY {\n rcode SERVFAIL\n }\n}").send_plainly(&asked);
    let id = failing.edns.as_ref().and_then(|edns| edns.option(option::NSID));
    assert_eq!((failing.rcode(), id), (Rcode::SERVFAIL, Some(&b"mine"[..])));
    assert!(refusal(". {\n nsid a\n nsid b\n}").contains("Corefile:3: nsid"));
}

#[test]
fn chaos_tells_of_the_server() {
    let ask = |corefile: &str, name: &str| {
        let mut asked = question(name, "TXT");
        asked.questions[0].class = Class::CH;
        shown(&Asker::new(corefile).send_plainly(&asked).answers)
    };
    let own = ". {\n chaos Mine-1.0 zoe adam\n whoami\n}";
    assert_eq!(ask(own, "Version.Bind."), ["Version.Bind. 0 CH TXT \"Mine-1.0\""]);
    assert_eq!(ask(". {\n chaos\n}", "version.server."), ["version.server. 0 CH TXT \"Bowline-1.2.3\""]);
    let mut authors = ask(own, "authors.bind.");
    authors.sort();
    assert_eq!(authors, ["authors.bind. 0 CH TXT \"adam\"", "authors.bind. 0 CH TXT \"zoe\""]);
    assert_eq!(ask(own, "hostname.bind.").len(), 1);
    // Of class IN, it is a name as any other.
    assert_eq!(Asker::new(own).ask("version.bind.", "TXT").additionals.len(), 2);
}

#[test]
fn header_sets_and_clears_flags() {
    let asker = Asker::new(". {\n header {\n  query clear rd\n  response set ra\n  response clear aa\n }\n whoami\n}");
    let flags = asker.ask("a.", "A").flags;
    assert_eq!((flags.ra(), flags.aa(), flags.rd()), (true, false, false));
    assert!(refusal(". {\n header\n}").contains("has no rule"));
    assert!(refusal(". {\n header {\n  response set ad\n }\n}").contains("Corefile:3: response: \"ad\" is no flag"));
    assert!(refusal(". {\n header {\n  answer set ra\n }\n}").contains("query, response"));
}

#[test]
fn local_answers_for_this_host() {
    let asker = Asker::new(". {\n local\n whoami\n}");
    assert_eq!(asker.answers("Localhost.", "A"), ["Localhost. 604800 IN A 127.0.0.1"]);
    assert_eq!(asker.answers("x.localhost.", "AAAA"), ["x.localhost. 604800 IN AAAA ::1"]);
    assert_eq!(asker.answers("localhost.example.org.", "A"), ["localhost.example.org. 604800 IN A 127.0.0.1"]);
    assert_eq!(asker.answers("1.0.0.127.in-addr.arpa.", "PTR"), ["1.0.0.127.in-addr.arpa. 604800 IN PTR localhost."]);
    assert_eq!(asker.answers("127.in-addr.arpa.", "NS"), ["127.in-addr.arpa. 604800 IN NS localhost."]);
    let soa = "127.in-addr.arpa. 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800";
    assert_eq!(asker.answers("127.in-addr.arpa.", "SOA"), [soa]);
    let missing = asker.ask("2.0.0.127.in-addr.arpa.", "PTR");
    assert_eq!((missing.rcode(), shown(&missing.authorities)), (Rcode::NXDOMAIN, vec![soa.to_owned()]));
    let nothing = asker.ask("1.0.0.127.in-addr.arpa.", "A");
    assert_eq!((nothing.rcode(), shown(&nothing.authorities)), (Rcode::NOERROR, vec![soa.to_owned()]));
    assert_eq!(asker.ask("localhostx.", "A").additionals.len(), 2);
    assert_eq!(asker.metric("coredns_local_localhost_requests_total").as_deref(), Some("2"));
    let asker = Asker::new(". {\n local {\n  localhost_prefix off\n }\n whoami\n}");
    assert!(asker.answers("localhost.example.org.", "A").is_empty());
}

#[test]
fn what_the_server_does_for_plugins() {
    // root, debug, metadata and cancel answer nothing themselves.
    let asker = Asker::new(". {\n root /\n debug\n metadata\n cancel 1s\n whoami\n}");
    assert_eq!(asker.ask("a.", "A").additionals.len(), 2);
    for wrong in ["cancel 0s", "cancel -1s", "cancel x", "root", "debug on", "metadata\n metadata", "metadata a..b"] {
        assert!(refusal(&format!(". {{\n {wrong}\n}}")).starts_with("Corefile:"), "{wrong}");
    }
}

#[test]
fn streams_are_not_cut_by_bufsize() {
    let asker = Asker::new(". {\n bufsize 512\n whoami\n}");
    let answer = asker.send(&with_edns("a.", "A"), "10.0.0.1:5", Transport::Tcp).unwrap();
    assert_eq!((answer.flags.tc(), answer.edns.unwrap().size), (false, 512));
}

/// Every plugin here that can let a plain question pass, in front of one that answers it.
const FAST: &str = ". {\n root /\n cancel\n nsid\n bufsize 600\n debug\n local\n dns64\n any\n chaos\n \
     rewrite name regex ^(.*)[.]sfx[.]$ {1}.other\n rewrite ttl exact slow.test 5\n rewrite type MX TXT\n \
     acl slow.acl.test {\n block\n }\n minimal\n \
     template IN A slow.test {\n match ^a[.]\n fallthrough\n }\n \
     hosts {\n 10.0.0.1 a.test slow.test a.slow.test b.slow.test slow.acl.test x.sfx\n fd00::1 a.test\n no_reverse\n \
     fallthrough\n }\n whoami\n}";

#[test]
fn plain_questions_pass_the_fast_way() {
    let asker = Asker::new(FAST);
    let from = "10.240.0.1:40212";
    asker.send_plainly(&question("a.test.", "A"));
    for message in [question("A.test.", "A"), with_edns("a.test.", "AAAA"), question("b.slow.test.", "A")] {
        let name = message.questions[0].name.to_string();
        let (fast, long) = (asker.fast(&message, from), asker.send_plainly(&message));
        assert_eq!(fast.unwrap_or_else(|| panic!("{name} takes the long way")), long, "{name}");
    }
    assert_eq!(asker.fast(&with_edns("a.test.", "A"), from).unwrap().edns.unwrap().size, 600);
    // Once the long way for the first question, three of each kind, and one more the fast way.
    let allowed = r#"coredns_acl_allowed_requests_total{server="dns://:53",view=""}"#;
    assert_eq!(asker.metric(allowed).as_deref(), Some("8"));
    for (name, rtype) in [
        ("a.test.", "ANY"),
        ("slow.test.", "A"),
        ("a.slow.test.", "A"),
        ("slow.acl.test.", "A"),
        ("x.sfx.", "A"),
        ("a.test.", "MX"),
        ("localhost.", "A"),
        ("x.127.in-addr.arpa.", "PTR"),
    ] {
        assert!(asker.fast(&question(name, rtype), from).is_none(), "{name} {rtype}");
    }
    // By IPv6, AAAA may have to be made.
    assert!(asker.fast(&question("a.test.", "AAAA"), "[fd00::9]:5").is_none());
    assert!(asker.fast(&question("a.test.", "A"), "[fd00::9]:5").is_some());
}
