//! The fragments of CoreDNS's page, and what happens where nothing matches.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::plugins::asker::{Asker, question, refusal, shown, with_edns};
use crate::wire::edns::option::EDE;
use crate::wire::{Class, Rcode};

#[test]
fn everything_is_nxdomain() {
    let answer = Asker::new(". {\n template ANY ANY {\n rcode NXDOMAIN\n }\n}").ask("Example.org.", "A");
    assert_eq!((answer.rcode(), answer.flags.aa(), answer.answers.len()), (Rcode::NXDOMAIN, true, 0));
}

#[test]
fn invalid_is_nxdomain_with_a_reason() {
    let asker = Asker::new(
        ". {\n template ANY ANY invalid {\n rcode NXDOMAIN\n \
         authority \"invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)\"\n \
         ederror 21 \"Blocked according to RFC2606\"\n }\n whoami\n}",
    );
    let answer = asker.send_plainly(&with_edns("a.invalid.", "MX"));
    assert_eq!(answer.rcode(), Rcode::NXDOMAIN);
    assert_eq!(shown(&answer.authorities), ["invalid. 60 IN SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"]);
    assert_eq!(answer.edns.unwrap().option(EDE), Some(&b"\x00\x15Blocked according to RFC2606"[..]));
    assert_eq!(asker.ask("valid.", "A").rcode(), Rcode::NOERROR);
}

#[test]
fn search_paths_are_told_off() {
    let asker = Asker::new(
        ". {\n template IN ANY example.com {\n match \"example\\.com\\.(dc1\\.example\\.com\\.)$\"\n rcode NXDOMAIN\n \
         authority \"{{ index .Match 1 }} 60 IN SOA ns.{{ index .Match 1 }} hostmaster.{{ index .Match 1 }} \
         (1 60 60 60 60)\"\n fallthrough\n }\n whoami\n}",
    );
    let answer = asker.ask("a.example.com.dc1.example.com.", "A");
    let soa = "dc1.example.com. 60 IN SOA ns.dc1.example.com. hostmaster.dc1.example.com. 1 60 60 60 60";
    assert_eq!((answer.rcode(), shown(&answer.authorities)), (Rcode::NXDOMAIN, vec![soa.to_owned()]));
    assert_eq!(asker.ask("a.example.com.", "A").rcode(), Rcode::NOERROR);
    let labels = r#"class="IN",server="dns://:53",type="A",view="",zone="example.com.""#;
    assert_eq!(asker.metric(&format!("coredns_template_matches_total{{{labels}}}")).as_deref(), Some("1"));
}

const PAIRS: &str = ". {\n template IN A example {\n \
     match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$\n \
     answer \"{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}\"\n fallthrough\n }\n \
     template IN PTR in-addr.arpa {\n \
     match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$\n \
     answer \"{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example.\"\n }\n}";

#[test]
fn addresses_stand_in_names() {
    let asker = Asker::new(PAIRS);
    assert_eq!(asker.answers("IP-10-1-2-3.example.", "A"), ["ip-10-1-2-3.example. 60 IN A 10.1.2.3"]);
    assert_eq!(
        asker.answers("3.2.1.10.in-addr.arpa.", "PTR"),
        ["3.2.1.10.in-addr.arpa. 60 IN PTR ip-10-1-2-3.example."]
    );
    // No pattern matches and nothing falls through.
    assert_eq!(asker.ask("x.in-addr.arpa.", "PTR").rcode(), Rcode::SERVFAIL);
    // What is made is no record.
    let failed = asker.ask("ip-10-1-2-333.example.", "A");
    assert_eq!((failed.rcode(), failed.answers.len()), (Rcode::SERVFAIL, 0));
    let template = "{{.Name}} 60 IN A {{.Group.a}}.{{.Group.b}}.{{.Group.c}}.{{.Group.d}}";
    let labels = r#"class="IN",section="answer",server="dns://:53",template=""#;
    let series =
        format!("coredns_template_rr_failures_total{{{labels}{template}\",type=\"A\",view=\"\",zone=\"example.\"}}");
    assert_eq!(asker.metric(&series).as_deref(), Some("1"));
}

#[test]
fn hexadecimal_addresses_by_parse_int() {
    let asker = Asker::new(
        ". {\n template IN A example {\n \
         match \"^ip0a(?P<b>[a-f0-9]{2})(?P<c>[a-f0-9]{2})(?P<d>[a-f0-9]{2})[.]example[.]$\"\n \
         answer \"{{ .Name }} 60 IN A 10.{{ parseInt .Group.b 16 8 }}.{{ parseInt .Group.c 16 8 }}.\
         {{ parseInt .Group.d 16 8 }}\"\n fallthrough\n }\n}",
    );
    assert_eq!(asker.answers("ip0a7b7c7d.example.", "A"), ["ip0a7b7c7d.example. 60 IN A 10.123.124.125"]);
}

#[test]
fn several_patterns_and_sections() {
    let asker = Asker::new(
        ". {\n template IN MX example {\n match \"^ip-10-(?P<b>[0-9]*)-(?P<c>[0-9]*)[.]example[.]$\" \"^x(?P<b>1)(?P<c>2)\"\n \
         answer \"{{ .Name }} 60 IN MX 10 {{ .Name }}\"\n additional \"{{ .Name }} 60 IN A 10.{{ .Group.b }}.{{ .Group.c }}.1\"\n \
         authority  \"example. 60 IN NS ns0.example.\"\n authority  \"example. 60 IN NS ns1.example.\"\n fallthrough\n }\n}",
    );
    let answer = asker.ask("x12.example.", "MX");
    assert_eq!(shown(&answer.answers), ["x12.example. 60 IN MX 10 x12.example."]);
    assert_eq!(shown(&answer.additionals), ["x12.example. 60 IN A 10.1.2.1"]);
    assert_eq!(answer.authorities.len(), 2);
    assert_eq!(asker.ask("ip-10-3-4.example.", "MX").additionals.len(), 1);
}

#[test]
fn an_alias_is_followed() {
    let asker = Asker::new(
        ". {\n template IN ANY foogle.com {\n match \"^foogle\\.com\\.$\"\n answer \"foogle.com 60 IN CNAME google.com\"\n }\n \
         template IN A google.com {\n answer \"google.com 30 IN A 192.0.2.7\"\n }\n}",
    );
    let both = ["foogle.com. 60 IN CNAME google.com.", "google.com. 30 IN A 192.0.2.7"];
    assert_eq!(asker.answers("foogle.com.", "A"), both);
    assert_eq!(asker.answers("foogle.com.", "TXT"), both[..1]);
    // An alias of itself comes to an end.
    let asker = Asker::new(". {\n template IN A {\n answer \"{{ .Name }} 60 IN CNAME {{ .Name }}\"\n }\n}");
    assert!(asker.ask("a.", "A").answers.len() > 1);
}

#[test]
fn classes_and_types_are_those_of_the_rule() {
    let asker = Asker::new(
        ". {\n chaos\n template CH TXT {\n answer \"{{ .Name }} 0 {{ .Class }} {{ .Type }} x\"\n }\n whoami\n}",
    );
    let mut asked = question("a.", "ANY");
    asked.questions[0].class = Class::CH;
    assert_eq!(shown(&asker.send_plainly(&asked).answers), ["a. 0 CH TXT \"x\""]);
    assert_eq!(asker.ask("a.", "TXT").additionals.len(), 2);
}

#[test]
fn what_is_wrong_is_refused() {
    for (wrong, why) in [
        ("template", "takes at least 2 arguments"),
        ("template XX A", "is not a class"),
        ("template IN XX", "is not a type"),
        ("template IN A {\n match (\n }", "Corefile:3: match: \"(\" is no regular expression"),
        ("template IN A {\n answer \"{{ .Foo }}\"\n }", "column 4: the question has no .Foo here"),
        ("template IN A {\n rcode WRONG\n }", "is not a response code"),
        ("template IN A {\n ederror 65536\n }", "is not the number"),
        ("template IN A {\n ederror 1 a b\n }", "takes 1 to 2 arguments"),
        ("template IN A {\n anwser x\n }", "did you mean answer"),
        ("template IN A {\n fallthrough a..b\n }", "a..b"),
    ] {
        let refused = refusal(&format!(". {{\n {wrong}\n}}"));
        assert!(refused.starts_with("Corefile:") && refused.contains(why), "{refused}");
    }
}
