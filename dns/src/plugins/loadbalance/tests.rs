//! `loadbalance`: what stands where, and that everything comes first at some time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;
use crate::plugins::testing::{ask, ask_fast, build, question, refused, services};
use crate::server::Instance;
use crate::wire::text::record_from_text;

fn records(texts: &[&str]) -> Vec<Record> {
    texts.iter().map(|text| record_from_text(text, None).unwrap()).collect()
}

fn types(records: &[Record]) -> Vec<Type> {
    records.iter().map(|record| record.rtype).collect()
}

const MIXED: [&str; 7] = [
    "region2.skydns.test. 300 IN MX 1 mx1.region2.skydns.test.",
    "endpoint.region2.skydns.test. 300 IN A 10.240.0.1",
    "cname2.region2.skydns.test. 300 IN CNAME cname3.region2.skydns.test.",
    "region2.skydns.test. 300 IN MX 2 mx2.region2.skydns.test.",
    "endpoint.region2.skydns.test. 300 IN A 10.240.0.2",
    "region2.skydns.test. 300 IN TXT x",
    "cname1.region2.skydns.test. 300 IN CNAME cname2.region2.skydns.test.",
];

#[test]
fn aliases_come_first_and_keep_their_order() {
    let mut sorted = records(&MIXED);
    round_robin(&mut sorted);
    let expected = [Type::CNAME, Type::CNAME, Type::TXT, Type::A, Type::A, Type::MX, Type::MX];
    assert_eq!(types(&sorted), expected);
    assert_eq!(sorted[0].name.to_string(), "cname2.region2.skydns.test.");
}

fn with(directive: &str) -> (Instance, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weights"), "# x\n\na.example\n 10.0.0.1 255\n10.0.0.2 1\n").unwrap();
    let hosts = "hosts {\n 10.0.0.1 a.example\n 10.0.0.2 a.example\n 10.0.0.3 a.example\n}";
    let instance = build(&format!(". {{\n {directive}\n {hosts}\n}}\n"), folder.path(), &services()).unwrap();
    (instance, folder)
}

fn firsts(answers: impl Iterator<Item = Message>) -> BTreeSet<String> {
    let first = |answer: Message| {
        assert_eq!(answer.answers.len(), 3);
        answer.answers[0].data.to_ip(Type::A).unwrap().to_string()
    };
    answers.map(first).collect()
}

#[test]
fn each_address_comes_first_by_both_ways() {
    let (instance, _folder) = with("loadbalance round_robin");
    let asked = question("a.example.", Type::A);
    let all = BTreeSet::from(["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(str::to_owned));
    // A run of 200 without one of three has a chance of 10^-35.
    assert_eq!(firsts((0..200).map(|_| ask(&instance, &asked))), all);
    let mut random = fastrand::Rng::with_seed(1);
    let fast = (0..200).map(|_| {
        assert!(ask_fast(&instance, &asked).is_some());
        let mut raw = Vec::new();
        asked.write(&mut raw);
        let (mut plain, mut out) = (crate::fast::Plain::default(), [0; 512]);
        assert!(plain.read(&raw));
        let client = "127.0.0.1:4000".parse().unwrap();
        let server = crate::plugins::testing::server(&instance);
        let mut fast = Fast::new(&plain, &raw, client, client, &mut out, &mut random);
        assert_eq!(server.fast(&mut fast), Step::Answered);
        Message::read(fast.answer()).unwrap()
    });
    assert_eq!(firsts(fast), all);
}

#[test]
fn addresses_of_preferred_subnets_come_first_in_their_order() {
    let (instance, _folder) = with("loadbalance {\n prefer 10.0.0.3/32 10.0.0.2/31\n}");
    let asked = question("a.example.", Type::A);
    for _ in 0..20 {
        let answer = ask(&instance, &asked);
        let ips: Vec<String> = answer.answers.iter().map(|r| r.data.to_ip(Type::A).unwrap().to_string()).collect();
        assert_eq!(ips, ["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
    }
    assert!(ask_fast(&instance, &asked).is_none());
    let mut sorted = records(&MIXED);
    prefer(&mut sorted, &["10.240.0.2/32".parse().unwrap()]);
    let expected = [Type::CNAME, Type::CNAME, Type::A, Type::A, Type::MX, Type::MX, Type::TXT];
    assert_eq!(types(&sorted), expected);
    assert_eq!(sorted[2].data.to_ip(Type::A), Some("10.240.0.2".parse().unwrap()));
}

#[test]
fn weights_choose_which_comes_first() {
    let (instance, _folder) = with("loadbalance weighted weights");
    let asked = question("A.example.", Type::A);
    let firsts: Vec<Message> = (0..300).map(|_| ask(&instance, &asked)).collect();
    let ones = firsts.iter().filter(|answer| answer.answers[0].data.to_ip(Type::A).unwrap().to_string() == "10.0.0.1");
    // 255 of 257.
    assert!(ones.count() > 250);
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("loadbalance", "accepted"),
        ("loadbalance round_robin", "accepted"),
        ("loadbalance weighted wfile", "accepted"),
        ("loadbalance weighted wfile {\n reload 10s\n}", "accepted"),
        ("loadbalance weighted wfile {\n reload 0s\n}", "the weight file /nonexistent/wfile can't be read"),
        ("loadbalance round_robin {\n prefer 10.9.20.0/24 192.168.1.0/24\n}", "accepted"),
        ("loadbalance nearest", "accepted"),
        ("loadbalance nearest x", "too many arguments for nearest"),
        ("loadbalance fleeb", "fleeb is no policy"),
        ("loadbalance a b", "a is no policy"),
        ("loadbalance weighted", "needs the name of its weight file"),
        ("loadbalance round_robin a", "too many arguments for round_robin"),
        ("loadbalance weighted wfile susu", "too many arguments for weighted"),
        ("loadbalance weighted wfile {\n susu\n}", "Corefile:3: susu: is no option"),
        ("loadbalance weighted wfile {\n reload a\n}", "is not a duration"),
        ("loadbalance weighted wfile {\n reload 30s a\n}", "takes one argument"),
        ("loadbalance round_robin {\n reload 10s\n}", "is for weighted only"),
        ("loadbalance {\n prefer 10.0.0.0/33\n}", "is no subnet"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}
