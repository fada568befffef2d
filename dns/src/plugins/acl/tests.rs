//! Policies with the fragments of CoreDNS's page, and the counts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::address::Transport;
use crate::plugins::asker::{Asker, question, refusal, with_edns};
use crate::wire::Rcode;
use crate::wire::edns::option::EDE;

/// What comes of a question: the rcode and the extended error.
fn told(policies: &str, name: &str, rtype: &str, from: &str) -> Option<(Rcode, Option<u16>)> {
    let asker = Asker::new(&format!(". {{\n acl {policies}\n whoami\n}}"));
    let answer = asker.send(&with_edns(name, rtype), from, Transport::Udp)?;
    let info =
        answer.edns.as_ref().and_then(|edns| edns.option(EDE)).map(|info| u16::from_be_bytes([info[0], info[1]]));
    Some((answer.rcode(), info))
}

const ALLOWED: Option<(Rcode, Option<u16>)> = Some((Rcode::NOERROR, None));
const BLOCKED: Option<(Rcode, Option<u16>)> = Some((Rcode::REFUSED, Some(15)));
const FILTERED: Option<(Rcode, Option<u16>)> = Some((Rcode::NOERROR, Some(17)));

#[test]
fn the_fragments_of_the_page() {
    let inside = "192.168.0.2:9";
    let block = "{\n block type A net 192.168.0.0/16\n }";
    assert_eq!(told(block, "a.", "A", inside), BLOCKED);
    assert_eq!(told(block, "a.", "AAAA", inside), ALLOWED);
    assert_eq!(told(block, "a.", "A", "192.167.0.2:9"), ALLOWED);
    assert_eq!(told("{\n filter type A net 192.168.0.0/16\n }", "a.", "A", inside), FILTERED);
    let except = "{\n allow net 192.168.1.0/24\n block net 192.168.0.0/16\n }";
    assert_eq!(told(except, "a.", "A", "192.168.1.7:9"), ALLOWED);
    assert_eq!(told(except, "a.", "A", inside), BLOCKED);
    let only = "{\n allow net 192.168.0.0/24 192.168.1.0/24\n block\n }";
    assert_eq!(told(only, "a.", "A", inside), ALLOWED);
    assert_eq!(told(only, "a.", "A", "192.168.2.1:9"), BLOCKED);
    let zone = "a.example.org {\n block net 192.168.1.0/24\n }";
    assert_eq!(told(zone, "x.A.example.org.", "A", "192.168.1.1:9"), BLOCKED);
    assert_eq!(told(zone, "b.example.org.", "A", "192.168.1.1:9"), ALLOWED);
    assert_eq!(told("{\n drop net 192.0.2.0/24\n }", "a.", "A", "192.0.2.1:9"), None);
    let six = "{\n block type * net 2001:db8::/32 2001:db9::1\n }";
    assert_eq!(told(six, "a.", "A", "[2001:db8::5]:9"), BLOCKED);
    assert_eq!(told(six, "a.", "A", "[2001:db9::1]:9"), BLOCKED);
    assert_eq!(told(six, "a.", "A", "[2001:db9::2]:9"), ALLOWED);
    // A socket of both families sees IPv4 clients as mapped addresses.
    assert_eq!(told(block, "a.", "A", "[::ffff:192.168.0.2]:9"), BLOCKED);
}

#[test]
fn an_answer_has_edns_only_where_it_was_asked_for() {
    let asker = Asker::new(". {\n acl {\n block\n }\n}");
    assert_eq!(asker.ask("a.", "A").edns, None);
}

#[test]
fn what_is_wrong_is_refused() {
    for (wrong, why) in [
        ("block A net 10.0.0.0/8", "\"A\" is neither type nor net"),
        ("block type net 10.0.0.0/8", "type names nothing"),
        ("block type ABC", "\"ABC\" is no type"),
        ("blck type A", "did you mean block"),
        ("block net 192.168.0/16", "\"192.168.0/16\" is no address or network"),
        ("block net 10.0.0.0/33", "is no address or network"),
    ] {
        let refused = refusal(&format!(". {{\n acl {{\n  {wrong}\n }}\n}}"));
        assert!(refused.starts_with("Corefile:3: ") && refused.contains(why), "{refused}");
    }
}

#[test]
fn questions_are_counted() {
    let asker =
        Asker::new(". {\n acl {\n  block net 10.0.0.1\n  filter net 10.0.0.2\n  drop net 10.0.0.3\n }\n whoami\n}");
    for host in 1..=5 {
        asker.send(&question("a.", "A"), &format!("10.0.0.{host}:9"), Transport::Udp);
    }
    let count = |what: &str, labels: &str| asker.metric(&format!("coredns_acl_{what}_requests_total{{{labels}}}"));
    let labels = r#"server="dns://:53",view="",zone=".""#;
    for what in ["blocked", "filtered", "dropped"] {
        assert_eq!(count(what, labels).as_deref(), Some("1"), "{what}");
    }
    assert_eq!(count("allowed", r#"server="dns://:53",view="""#).as_deref(), Some("2"));
    // The fast way counts only what it answers itself.
    assert!(asker.fast(&question("a.", "A"), "10.0.0.9:9").is_none());
    assert_eq!(count("allowed", r#"server="dns://:53",view="""#).as_deref(), Some("2"));
}
