//! The fragments of CoreDNS's page, and each rule in detail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::address::Transport;
use crate::plugins::asker::{Asker, question, refusal, shown, with_edns};
use crate::wire::{Class, Rcode, Type};

/// Answers with the name that was asked for, as it comes behind the rules.
const ECHO: &str = "template IN ANY {\n answer \"{{ .Name }} 60 IN TXT {{ .Type }}\"\n }";

fn rules(rules: &str) -> Asker {
    Asker::new(&format!(". {{\n {rules}\n {ECHO}\n}}"))
}

/// The owner of the answer where rules don't change it back.
fn asked(rule: &str, name: &str) -> String {
    let answer = rules(rule).ask(name, "TXT");
    assert_eq!(answer.questions[0].name.to_string(), name, "the question comes back as it was");
    answer.answers[0].name.to_string()
}

#[test]
fn names_are_matched_in_five_ways() {
    let substring = "rewrite name substring service.us-west-1.example.org service.us-west-1.consul";
    assert_eq!(asked(substring, "FTP.service.us-west-1.example.org."), "ftp.service.us-west-1.consul.");
    let regex = r"rewrite name regex (.*)-(us-west-1)\.example\.org {1}.service.{2}.consul";
    assert_eq!(asked(regex, "ftp-us-west-1.example.org."), "ftp.service.us-west-1.consul.");
    assert_eq!(asked(regex, "ftp-us-west-2.example.org."), "ftp-us-west-2.example.org.");
    let suffix = "rewrite name suffix .schmoogle.com. .google.com.";
    assert_eq!(asked(suffix, "www.schmoogle.com."), "www.google.com.");
    assert_eq!(asked(suffix, "schmoogle.com."), "schmoogle.com.");
    // A suffix is text: labels don't matter to it.
    assert_eq!(asked("rewrite name suffix moogle.com oogle.com", "www.schmoogle.com."), "www.schoogle.com.");
    assert_eq!(asked("rewrite name prefix a. b.", "a.x."), "b.x.");
    // An exact rule's answer is always renamed.
    assert_eq!(asked("rewrite name Example.net example.org", "example.net."), "example.net.");
}

#[test]
fn exact_names_come_back_with_what_is_below_them() {
    let asker = Asker::new(
        ". {\n rewrite name exact red.example blue.example\n template IN A blue.example {\n \
         answer \"blue.example 60 IN CNAME x.blue.example\" \"x.blue.example 60 IN A 10.0.0.1\"\n }\n whoami\n}",
    );
    let renamed = ["red.example. 60 IN CNAME x.red.example.", "x.red.example. 60 IN A 10.0.0.1"];
    let answers = asker.answers("RED.example.", "A");
    assert_eq!([&answers[0], &answers[answers.len() - 1]], [renamed[0], renamed[1]]);
    assert_eq!(asker.ask("green.example.", "A").additionals.len(), 2);
}

#[test]
fn answers_are_renamed_as_the_rule_says() {
    let auto = "rewrite stop {\n name suffix .coredns.rocks .service.consul answer auto\n }";
    assert_eq!(asked(auto, "ftp.coredns.rocks."), "ftp.coredns.rocks.");
    let auto = "rewrite name substring rocks consul answer auto";
    assert_eq!(asked(auto, "ftp.rocks."), "ftp.rocks.");
    let explicit = "rewrite stop {\n name regex (.*)-(us-west-1)\\.coredns\\.rocks {1}.service.{2}.consul\n \
         answer name (.*)\\.service\\.(us-west-1)\\.consul {1}-{2}.coredns.rocks\n }";
    assert_eq!(asked(explicit, "ftp-us-west-1.coredns.rocks."), "ftp-us-west-1.coredns.rocks.");
}

#[test]
fn values_are_renamed_in_every_type_that_has_one() {
    let asker = Asker::new(
        ". {\n rewrite stop {\n name suffix .arpa .arpa\n answer name auto\n \
         answer value (.*)\\.service\\.consul\\. {1}.coredns.rocks.\n }\n template IN ANY arpa {\n \
         answer \"{{ .Name }} 60 IN PTR ftp.service.consul.\" \"{{ .Name }} 60 IN SRV 1 2 3 s.service.consul.\" \
         \"{{ .Name }} 60 IN MX 5 m.service.consul.\" \"{{ .Name }} 60 IN NAPTR 1 2 s http x r.service.consul.\"\n \
         authority \"{{ .Name }} 60 IN SOA n.service.consul. h.service.consul. 1 2 3 4 5\"\n \
         additional \"{{ .Name }} 60 IN NS n.service.consul.\" \"{{ .Name }} 60 IN TXT t.service.consul.\"\n }\n}",
    );
    let answer = asker.ask("30.30.30.10.in-addr.arpa.", "PTR");
    let owner = "30.30.30.10.in-addr.arpa. 60 IN";
    assert_eq!(
        shown(&answer.answers),
        [
            format!("{owner} PTR ftp.coredns.rocks."),
            format!("{owner} SRV 1 2 3 s.coredns.rocks."),
            format!("{owner} MX 5 m.coredns.rocks."),
            format!("{owner} NAPTR 1 2 \"s\" \"http\" \"x\" r.coredns.rocks."),
        ]
    );
    assert_eq!(shown(&answer.authorities), [format!("{owner} SOA n.coredns.rocks. h.service.consul. 1 2 3 4 5")]);
    let rest = [format!("{owner} NS n.coredns.rocks."), format!("{owner} TXT \"t.service.consul.\"")];
    assert_eq!(shown(&answer.additionals), rest);
}

#[test]
fn rules_are_tried_in_order_until_one_stops() {
    let chain = "rewrite continue name regex ^a\\.(.*)\\.$ b.{1}\n rewrite continue name regex ^b\\.(.*)\\.$ c.{1}\n \
         rewrite name regex ^c\\.(.*)\\.$ d.{1}\n rewrite name regex ^d\\.(.*)\\.$ e.{1}";
    assert_eq!(asked(chain, "a.x."), "d.x.");
    assert_eq!(asked(chain, "d.x."), "e.x.");
    // What is undone is undone from the last to the first.
    let back = "rewrite continue name exact a.x b.x\n rewrite name exact b.x c.x";
    assert_eq!(asked(back, "a.x."), "a.x.");
}

#[test]
fn types_and_classes() {
    let asker = rules("rewrite type ANY HINFO\n rewrite type A AAAA");
    assert_eq!(asker.answers("a.", "ANY"), ["a. 60 IN TXT \"HINFO\""]);
    let answer = asker.ask("a.", "A");
    assert_eq!((shown(&answer.answers)[0].as_str(), answer.questions[0].rtype), ("a. 60 IN TXT \"AAAA\"", Type::A));
    let asker = Asker::new(&format!(". {{\n chaos\n rewrite class CH IN\n {ECHO}\n}}"));
    let mut chaos = question("a.", "TXT");
    chaos.questions[0].class = Class::CH;
    let answer = asker.send_plainly(&chaos);
    assert_eq!((answer.answers.len(), answer.questions[0].class), (1, Class::CH));
}

#[test]
fn ttls_are_set_or_bounded() {
    let ttl = |rule: &str| rules(&format!("rewrite {rule}")).ask("a.example.com.", "TXT").answers[0].ttl;
    assert_eq!(ttl("continue {\n ttl regex (.*)\\.example\\.com 15\n }"), 15);
    assert_eq!(ttl("ttl a.example.com. 30-300"), 60);
    assert_eq!(ttl("ttl suffix example.com -30"), 30);
    assert_eq!(ttl("ttl prefix a.example.com 90-"), 90);
    assert_eq!(ttl("ttl substring example.com 5"), 5);
    assert_eq!(ttl("ttl b.example.com 5"), 60);
}

#[test]
fn rcodes_are_changed_with_records_and_without() {
    let rcode = |rule: &str, template: &str| {
        let asker = Asker::new(&format!(". {{\n rewrite {rule}\n template IN ANY {{\n {template}\n }}\n}}"));
        asker.ask("a.coredns.rocks.", "A").rcode()
    };
    let rule = "continue {\n rcode regex (.*)\\.coredns\\.rocks SERVFAIL NOERROR\n }";
    assert_eq!(rcode(rule, "rcode SERVFAIL"), Rcode::NOERROR);
    assert_eq!(rcode(rule, "rcode NXDOMAIN"), Rcode::NXDOMAIN);
    assert_eq!(rcode("rcode suffix coredns.rocks 3 0", "rcode NXDOMAIN\n answer \". 0 TXT a\""), Rcode::NOERROR);
    assert_eq!(rcode("rcode a.coredns.rocks NXDOMAIN REFUSED", "rcode NXDOMAIN"), Rcode::REFUSED);
}

/// The option of an answer where a question has EDNS; `own`: the option that the question has itself.
fn option(rules: &str, code: u16, own: Option<&[u8]>) -> Option<Vec<u8>> {
    let asker = Asker::new(&format!(". {{\n {rules}\n whoami\n}}"));
    let mut asked = with_edns("Host.example.", "A");
    asked.edns.as_mut().unwrap().options.extend(own.map(|own| (code, own.to_vec())));
    let answer = asker.send(&asked, "10.240.0.1:40212", Transport::Udp).unwrap();
    answer.edns.unwrap().option(code).map(<[u8]>::to_vec)
}

#[test]
fn options_are_set_and_show_unless_they_are_reverted() {
    let abcd = Some(b"abcd".to_vec());
    assert_eq!(option("rewrite edns0 local set 0xffee 0x61626364", 0xffee, None), abcd);
    assert_eq!(option("rewrite edns0 local set 0xffee abcd", 0xffee, Some(b"old")), abcd);
    assert_eq!(option("rewrite edns0 local append 0xffee abcd", 0xffee, Some(b"old")), Some(b"old".to_vec()));
    assert_eq!(option("rewrite edns0 local replace 0xffee abcd", 0xffee, None), None);
    assert_eq!(option("rewrite edns0 local replace 65518 abcd", 0xffee, Some(b"old")), abcd);
    assert_eq!(option("rewrite edns0 local unset 0xffee", 0xffee, Some(b"old")), None);
    assert_eq!(option("rewrite edns0 local set 0xffee abcd revert", 0xffee, None), None);
    assert_eq!(option("rewrite edns0 local set 0xffee abcd revert", 0xffee, Some(b"old")), Some(b"old".to_vec()));
    let both = "rewrite continue {\n edns0 local set 0xffee abcd\n }\n rewrite edns0 local replace 0xffee bcde revert";
    assert_eq!(option(both, 0xffee, None), abcd);
    // An option that nobody rewrites is not shown again.
    assert_eq!(option("rewrite edns0 local set 0xffef a", 0xffee, Some(b"old")), None);
}

#[test]
fn options_may_tell_of_the_question() {
    let told = |variable: &str| option(&format!("rewrite edns0 local set 0xffee {variable}"), 0xffee, None);
    assert_eq!(told("{qname}").as_deref(), Some(&b"Host.example."[..]));
    assert_eq!(told("{qtype}").as_deref(), Some(&[0, 1][..]));
    assert_eq!(told("{client_ip}").as_deref(), Some(&[10, 240, 0, 1][..]));
    assert_eq!(told("{client_port}"), Some(40212_u16.to_be_bytes().to_vec()));
    assert_eq!(told("{server_ip}").as_deref(), Some(&[127, 0, 0, 1][..]));
    assert_eq!(told("{server_port}").as_deref(), Some(&[0, 53][..]));
    assert_eq!(told("{protocol}").as_deref(), Some(&b"udp"[..]));
    assert_eq!(told("{some-plugin/some-label}"), None);
}

#[test]
fn who_sends_no_edns_gets_none() {
    let asker = Asker::new(". {\n rewrite edns0 local set 0xffee abcd\n whoami\n}");
    assert_eq!(asker.ask("a.", "A").edns, None);
}

#[test]
fn an_alias_is_led_elsewhere() {
    let asker = |rule: &str| {
        Asker::new(&format!(
            ". {{\n rewrite {rule}\n template IN A my-app.com {{\n answer \"my-app.com. 200 IN CNAME my-app.example.\" \n }}\n \
             template IN A my-app.example {{\n answer \"my-app.example. 200 IN CNAME my-app.com.cdn.example.net.\"\n }}\n \
             template IN A cdn.example.net {{\n answer \"{{{{ .Name }}}} 300 IN A 20.2.0.1\"\n }}\n \
             template IN A other.cdn.com {{\n answer \"{{{{ .Name }}}} 100 IN A 30.3.1.2\"\n }}\n}}"
        ))
    };
    let led = [
        "my-app.com. 200 IN CNAME my-app.example.",
        "my-app.example. 200 IN CNAME my-app.com.other.cdn.com.",
        "my-app.com.other.cdn.com. 100 IN A 30.3.1.2",
    ];
    for rule in [
        "cname regex (.*).cdn.example.net. {1}.other.cdn.com.",
        "cname suffix .cdn.example.net. .other.cdn.com.",
        "cname substring .cdn.example.net .other.cdn.com",
        "cname my-app.com.cdn.example.net my-app.com.other.cdn.com",
        "cname prefix my-app.com.cdn.example.net my-app.com.other.cdn.com",
    ] {
        assert_eq!(asker(rule).answers("my-app.com.", "A"), led, "{rule}");
    }
    assert_eq!(asker("cname exact a b").answers("my-app.com.", "A").len(), 3);
}

#[test]
fn a_name_that_would_be_none_is_an_error() {
    let asker = rules("rewrite name prefix a. a..b.");
    let answer = asker.ask("a.x.", "TXT");
    assert_eq!((answer.rcode(), answer.questions[0].name.to_string()), (Rcode::SERVFAIL, "a.x.".to_owned()));
    // A dot of the pattern's stands before the one of the name that is written.
    assert_eq!(rules("rewrite name regex ^a[.](.*) b.{1}").ask("a.x.", "TXT").rcode(), Rcode::SERVFAIL);
    let asker = rules("rewrite name regex (.*) {0}{0}{0}{0}{0}{0}{0}{0}{0}");
    assert_eq!(asker.ask("abcdefghijklmnopqrstuvwxyzabcdefghij.", "TXT").rcode(), Rcode::SERVFAIL);
}

#[test]
fn what_is_wrong_is_refused() {
    for (wrong, why) in [
        ("rewrite", "says nothing of what to rewrite"),
        ("rewrite continue", "says nothing of what to rewrite"),
        ("rewrite foo a b", "\"foo\" is nothing that can be rewritten"),
        ("rewrite name a", "needs what to match"),
        ("rewrite name fuzzy a b", "\"fuzzy\" is no way to match names"),
        ("rewrite name regex ( b", "is no regular expression"),
        ("rewrite name regex (a)b {1}{2}", "asks for {2}"),
        ("rewrite name exact a b c d", "options begin with answer"),
        ("rewrite name regex a b answer", "answer needs auto, name or value"),
        ("rewrite name regex a b answer nam c d", "answer nam is unknown"),
        ("rewrite name regex a b answer name c", "needs a pattern"),
        ("rewrite name regex a b answer auto name c d", "exclude each other"),
        ("rewrite answer name a b", "answer stands behind"),
        ("rewrite type A", "needs two"),
        ("rewrite type A WRONG", "\"WRONG\" is no type of records"),
        ("rewrite class IN WRONG", "\"WRONG\" is no class"),
        ("rewrite ttl a -", "neither a number of seconds"),
        ("rewrite ttl a 30-20", "neither a number of seconds"),
        ("rewrite ttl a 1-2-3", "neither a number of seconds"),
        ("rewrite ttl a 5000000000", "neither a number of seconds"),
        ("rewrite rcode a 24 0", "\"24\" is no response code"),
        ("rewrite rcode a b", "needs a name, and the codes"),
        ("rewrite cname a", "needs what an alias leads to"),
        ("rewrite edns0 local", "needs local, nsid or subnet"),
        ("rewrite edns0 local put 1 2", "none of set, append, replace, unset"),
        ("rewrite edns0 local set 1", "takes the option's code and its value"),
        ("rewrite edns0 local set 65536 a", "is no number from 0 to 65535"),
        ("rewrite edns0 local set 1 0xabc", "no even number of hexadecimal digits"),
        ("rewrite edns0 local set 1 {foo}", "there is no variable {foo}"),
        ("rewrite edns0 subnet set 33 56", "\"33\" is no number of bits from 0 to 32"),
        ("rewrite edns0 subnet set 24 129", "no number of bits from 0 to 128"),
        ("rewrite edns0 nsid set 1", "takes nothing more"),
        ("rewrite edns0 foo set 1", "edns0 foo is unknown"),
    ] {
        let refused = refusal(&format!(". {{\n {wrong}\n}}"));
        assert!(refused.starts_with("Corefile:2: rewrite: ") && refused.contains(why), "{refused}");
    }
}
