//! `log`: which questions it writes of, and CoreDNS's lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::address::Transport;
use crate::plugin::Request;
use crate::plugins::testing::{ask_fast, build, dnssec_question, question, refused, server, services};
use crate::server::Instance;
use crate::wire::{Message, Type};

fn rules(text: &str) -> Vec<Rule> {
    let text = format!(". {{\n {text}\n}}\n");
    let corefile = crate::corefile::parse(&text, "Corefile", Path::new(""), &|_| None).unwrap();
    let mut rules = Vec::new();
    corefile.blocks[0].directives.iter().for_each(|directive| read(directive, &mut rules).unwrap());
    rules
}

/// The line that the first rule for a question writes, if it does; its duration as 1 ms.
fn line(rules: &[Rule], directives: &str, asked: &Message, transport: Transport) -> Option<String> {
    let instance: Instance = build(&format!(". {{\n {directives}\n}}\n"), Path::new(""), &services()).unwrap();
    let mut raw = Vec::new();
    asked.write(&mut raw);
    let (from, to) = ("[::1]:4000".parse().unwrap(), "127.0.0.1:53".parse().unwrap());
    let mut request = Request::new(raw, from, to, transport);
    request.message = asked.clone();
    let server = server(&instance);
    let mut query = server.question(request).unwrap();
    let rule = rules.iter().find(|rule| query.name().is_within(&rule.scope))?;
    let asked = Asked::of(&query);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(server.choose_and_serve(&mut query));
    let said = Said::of(&query, &outcome, std::time::Duration::from_millis(1));
    let is_wanted = rule.classes.as_ref().is_none_or(|classes| classes.contains(&said.kind.class()));
    is_wanted.then(|| rule.format.fill(&query, &asked, Some(&said)))
}

const HOSTS: &str = "hosts {\n 10.0.0.1 a.example.org\n fallthrough nowhere\n}";

#[test]
fn lines_are_as_coredns_writes_them() {
    let wide = dnssec_question("A.Example.org.", Type::A);
    let found = line(&rules("log"), HOSTS, &wide, Transport::Tcp).unwrap();
    let expected = "[::1]:4000 - 7 \"A IN a.example.org. tcp 42 true 65535\" NOERROR qr,aa,rd 60 0.001s";
    assert_eq!(found, expected);
    let found = line(&rules("log . {combined}"), HOSTS, &question("b.example.org.", Type::A), Transport::Udp).unwrap();
    let expected = "[::1]:4000 - 7 \"A IN b.example.org. udp 31 false 512\" SERVFAIL qr,rd 31 0.001s \"0\"";
    assert_eq!(found, expected);
    let custom = rules("log . \"{proto} Request: {name} {type} {>id} {/a/b} {what} {local}\"");
    let found = line(&custom, HOSTS, &question("b.example.org.", Type::MX), Transport::Udp).unwrap();
    assert_eq!(found, "udp Request: b.example.org. MX 7 - {what} 127.0.0.1");
    let custom = rules("log . \"{proto} Request: {name} {type} {/log/class} {/log/type}\"");
    let asked = question("a.example.org.", Type::A);
    let found = line(&custom, &format!("metadata\n{HOSTS}"), &asked, Transport::Udp).unwrap();
    assert_eq!(found, "udp Request: a.example.org. A success NOERROR");
}

#[test]
fn names_and_classes_choose() {
    let good = question("a.example.org.", Type::A);
    let bad = question("b.example.org.", Type::A);
    let empty = question("a.example.org.", Type::MX);
    let says = |text: &str, asked| line(&rules(text), HOSTS, asked, Transport::Udp).is_some();
    assert!(says("log example.org", &good) && !says("log example.net", &good));
    assert!(says("log example.net EXAMPLE.org {combined}", &good));
    let text = "log example.org {\n class error\n}";
    assert!(!says(text, &good) && says(text, &bad));
    let text = "log . {\n class denial error\n}";
    assert!(!says(text, &good) && says(text, &bad));
    assert!(says("log . {\n class success\n class error\n}", &empty));
    assert!(says("log . {\n class all\n}", &bad));
    // The first rule for a name counts, whatever it says.
    let text = "log example.org {\n class error\n}\n log";
    assert!(!says(text, &good));
}

#[test]
fn the_fast_way_is_open_for_names_that_are_not_logged() {
    let instance = |text: &str| build(&format!(". {{\n {text}\n{HOSTS}\n}}\n"), Path::new(""), &services()).unwrap();
    let asked = question("a.example.org.", Type::A);
    assert!(ask_fast(&instance("log example.net"), &asked).is_some());
    assert!(ask_fast(&instance("log example.org"), &asked).is_none());
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("log", "accepted"),
        ("log example.org", "accepted"),
        ("log example.org. {common}", "accepted"),
        ("log example.org. {combined}", "accepted"),
        ("log example.org.\n log example.net {combined}", "accepted"),
        ("log example.org {\n class all\n}", "accepted"),
        ("log . {\n class denial\n class success\n}", "accepted"),
        ("log {\n class denial error\n}", "accepted"),
        ("log {combined}", "a format needs a name in front of it"),
        ("log example.org {\n class abracadabra\n}", "\"abracadabra\" is no class"),
        ("log example.org {\n class\n}", "takes at least 1 argument"),
        ("log {\n unknown\n}", "is no option here"),
        ("log a..b", "is no name"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}
