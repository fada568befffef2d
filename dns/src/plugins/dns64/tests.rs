//! RFC 6147 and RFC 6052, with the fragments of CoreDNS's page.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::address::Transport;
use crate::plugins::asker::{Asker, question, refusal, shown};

fn answers(options: &str, templates: &str, from: &str) -> (Message, Asker) {
    let asker = Asker::new(&format!(". {{\n dns64 {options}\n {templates}\n}}"));
    let answer = asker.send(&question("host.example.", "AAAA"), from, Transport::Udp).unwrap();
    (answer, asker)
}

const FOUR: &str = "template IN A example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }\n \
     template IN AAAA example {\n authority \"example. 30 IN SOA ns.example. root.example. (1 2 3 4 5)\"\n }";
const BOTH: &str = "template IN A example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }\n \
     template IN AAAA example {\n answer \"{{ .Name }} 60 IN AAAA 2001:db8::1\"\n }";
const SIX: &str = "[2001:db8::9]:4000";

#[test]
fn addresses_are_embedded_by_rfc_6052_section_2_4() {
    let address = Ipv4Addr::new(192, 0, 2, 33);
    for (prefix, text) in [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ] {
        assert_eq!(embed(prefix.parse().unwrap(), address), text.parse::<Ipv6Addr>().unwrap(), "{prefix}");
    }
}

#[test]
fn a_host_without_ipv6_gets_an_address_for_as_long_as_its_absence_is_known() {
    let (answer, asker) = answers("", FOUR, SIX);
    assert_eq!(shown(&answer.answers), ["host.example. 30 IN AAAA 64:ff9b::c000:22a"]);
    let series = r#"coredns_dns64_requests_translated_total{server="dns://:53"}"#;
    assert_eq!(asker.metric(series).as_deref(), Some("1"));
    let (answer, _) = answers("2001:db8::/32", FOUR, SIX);
    assert_eq!(shown(&answer.answers), ["host.example. 30 IN AAAA 2001:db8:c000:22a::"]);
}

#[test]
fn what_has_ipv6_is_left_alone_unless_all_is_translated() {
    assert_eq!(shown(&answers("", BOTH, SIX).0.answers), ["host.example. 60 IN AAAA 2001:db8::1"]);
    let all = answers("{\n translate_all\n }", BOTH, SIX).0;
    assert_eq!(shown(&all.answers), ["host.example. 60 IN AAAA 64:ff9b::c000:22a"]);
}

#[test]
fn clients_of_ipv4_are_left_alone_unless_allowed() {
    assert!(answers("", FOUR, "192.0.2.1:4000").0.answers.is_empty());
    let options = "{\n allow_ipv4\n prefix 64:1337::/64\n }";
    assert_eq!(answers(options, FOUR, "192.0.2.1:4000").0.answers.len(), 1);
    // A socket of both families sees IPv4 clients as mapped addresses.
    assert!(answers("", FOUR, "[::ffff:192.0.2.1]:4000").0.answers.is_empty());
}

#[test]
fn a_name_that_is_not_there_stays_so() {
    let missing = "template IN A example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }\n \
         template IN AAAA example {\n rcode NXDOMAIN\n }";
    let (answer, _) = answers("", missing, SIX);
    assert_eq!((answer.rcode(), answer.answers.len()), (Rcode::NXDOMAIN, 0));
}

#[test]
fn an_error_is_as_if_there_were_no_ipv6() {
    let failing = "template IN A example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }\n \
         template IN AAAA example {\n rcode SERVFAIL\n }";
    assert_eq!(shown(&answers("", failing, SIX).0.answers), ["host.example. 60 IN AAAA 64:ff9b::c000:22a"]);
    // Where there is no A either, the client is told how that failed.
    let refused = "template IN A example {\n rcode REFUSED\n }\n template IN AAAA example {\n rcode SERVFAIL\n }";
    assert_eq!(answers("", refused, SIX).0.rcode(), Rcode::REFUSED);
}

#[test]
fn no_answer_is_as_if_there_were_no_ipv6() {
    // Nobody answers the question for AAAA.
    let four = "template IN A example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }";
    assert_eq!(shown(&answers("", four, SIX).0.answers), ["host.example. 60 IN AAAA 64:ff9b::c000:22a"]);
}

#[test]
fn an_error_with_addresses_is_one_without() {
    let failing = "template IN A example {\n answer \"{{ .Name }} 900 IN A 192.0.2.42\"\n }\n \
         template IN AAAA example {\n rcode REFUSED\n answer \"{{ .Name }} 60 IN AAAA 2001:db8::1\"\n }";
    // Without an SOA, ten minutes at most (RFC 6147 §5.1.7).
    assert_eq!(shown(&answers("", failing, SIX).0.answers), ["host.example. 600 IN AAAA 64:ff9b::c000:22a"]);
}

#[test]
fn addresses_of_ipv4_in_the_form_of_ipv6_are_none() {
    let with = |more: &str| {
        let templates = format!(
            "template IN A example {{\n answer \"{{{{ .Name }}}} 60 IN A 192.0.2.42\"\n }}\n \
             template IN AAAA example {{\n answer \"{{{{ .Name }}}} 60 IN AAAA ::ffff:192.0.2.1\"\n{more}\n }}"
        );
        shown(&answers("", &templates, SIX).0.answers)
    };
    assert_eq!(with(""), ["host.example. 60 IN AAAA 64:ff9b::c000:22a"]);
    let usable = "answer \"{{ .Name }} 60 IN AAAA 2001:db8::1\"";
    assert_eq!(with(usable), ["host.example. 60 IN AAAA 2001:db8::1"]);
}

#[test]
fn aliases_stay_and_their_end_is_translated() {
    let templates = "template IN A end.example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }\n \
         template IN AAAA end.example {\n authority \"example. 30 IN SOA ns.example. root.example. (1 2 3 4 5)\"\n }\n \
         template ANY ANY example {\n answer \"{{ .Name }} 60 IN CNAME end.example.\"\n }";
    let expected = ["host.example. 60 IN CNAME end.example.", "end.example. 30 IN AAAA 64:ff9b::c000:22a"];
    assert_eq!(shown(&answers("", templates, SIX).0.answers), expected);
    // An alias to nothing is an error of the name.
    let dangling = "template IN AAAA host.example {\n rcode NXDOMAIN\n answer \"{{ .Name }} 60 IN CNAME x.test.\"\n }\n \
         template IN A host.example {\n answer \"{{ .Name }} 60 IN A 192.0.2.42\"\n }";
    let (answer, _) = answers("", dangling, SIX);
    assert_eq!(
        (answer.rcode(), shown(&answer.answers)),
        (Rcode::NXDOMAIN, vec!["host.example. 60 IN CNAME x.test.".into()])
    );
}

#[test]
fn what_is_no_prefix_is_refused() {
    for wrong in ["dns64 64:ff9b::", "dns64 10.0.0.0/8", "dns64 64:ff9b::/72", "dns64 64:ff9b::/97", "dns64 a b"] {
        assert!(refusal(&format!(". {{\n {wrong}\n}}")).starts_with("Corefile:2: dns64"), "{wrong}");
    }
    assert!(refusal(". {\n dns64 {\n  translate_some\n }\n}").contains("did you mean translate_all"));
}
