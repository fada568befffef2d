//! `etcd` with a real one: SkyDNS's layout, the examples of CoreDNS's README, and an etcd that is away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd as Server, EtcdOptions, Place};

use super::*;
use crate::plugin::testing::{ask, build, question, refused, services, shown};
use crate::server::Instance;

/// An etcd with these keys below /skydns, and a server that asks it.
struct Site {
    instance: Instance,
    etcd: Server,
    // Last, so that everything goes before its folders do.
    _place: Place,
    _lab: Lab,
}

/// Writes to an etcd by its own HTTP gateway.
fn put(etcd: &Server, key: &str, value: &str) {
    let encode = |text: &str| Data::from_bytes(text.as_bytes()).shown(Type::OPENPGPKEY).to_string();
    let body = format!(r#"{{"key":"{}","value":"{}"}}"#, encode(key), encode(value));
    let url = format!("{}/v3/kv/put", etcd.urls()[0]);
    let output = Command::new("curl").args(["-sSf", "-d", &body, &url]).output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn site(keys: &[(&str, &str)], options: &str) -> Site {
    let lab = Lab::new("skydns").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Server::start(&place, &EtcdOptions::default()).unwrap();
    for (key, value) in keys {
        put(&etcd, &format!("/skydns{key}"), value);
    }
    let text = format!(
        ". {{\nhosts {{\n192.0.2.9 outside.example\nfallthrough\n}}\n\
         etcd skydns.local 10.0.0.0/24 {{\npath /skydns\nendpoint http://127.0.0.1:1 {}\n{options}\n}}\nwhoami\n}}\n",
        etcd.urls()[0]
    );
    Site { instance: build(&text, Path::new("/"), &services()).unwrap(), etcd, _place: place, _lab: lab }
}

fn answers(site: &Site, name: &str, rtype: Type) -> Vec<String> {
    let mut lines = shown(&ask(&site.instance, &question(name, rtype)));
    lines.sort();
    lines
}

#[test]
fn names_answer_with_the_keys_below_them() {
    let site = site(
        &[
            ("/local/skydns/x1", r#"{"host":"1.1.1.1","ttl":60}"#),
            ("/local/skydns/x2", r#"{"host":"1.1.1.2","ttl":60}"#),
            ("/local/skydns/x3", r#"{"host":"2003::8:1","ttl":60}"#),
            ("/local/skydns/web/a", r#"{"host":"10.0.0.1","port":8080,"priority":20}"#),
            ("/local/skydns/web/b", r#"{"host":"alias.skydns.local","port":8081,"priority":20,"weight":50}"#),
            ("/local/skydns/alias", r#"{"host":"10.0.0.2"}"#),
            ("/local/skydns/away", r#"{"host":"outside.example"}"#),
            ("/local/skydns/loop", r#"{"host":"loop.skydns.local"}"#),
            ("/local/skydns/text/1", r#"{"text":"this is a random text message.","ttl":60}"#),
            ("/local/skydns/mail/1", r#"{"host":"10.0.0.3","mail":true,"priority":5}"#),
            ("/local/skydns/dns/ns/a", r#"{"host":"10.0.0.53"}"#),
            ("/local/skydns/group/a", r#"{"host":"10.0.1.1","group":"g1"}"#),
            ("/local/skydns/group/sub/b", r#"{"host":"10.0.1.2","group":"g2"}"#),
            ("/arpa/in-addr/10/0/0/9", "no JSON"),
            ("/arpa/in-addr/10/0/0/127", r#"{"host":"reverse.skydns.local."}"#),
        ],
        "fallthrough x.skydns.local",
    );
    let web = answers(&site, "Web.skydns.local.", Type::A);
    assert_eq!(
        web,
        [
            "Web.skydns.local. A 10.0.0.1",
            "Web.skydns.local. CNAME alias.skydns.local.",
            "alias.skydns.local. A 10.0.0.2",
        ]
    );
    assert_eq!(answers(&site, "a.web.skydns.local.", Type::A), ["a.web.skydns.local. A 10.0.0.1"]);
    assert!(answers(&site, "skydns.local.", Type::A).contains(&"skydns.local. A 1.1.1.1".to_owned()));
    assert_eq!(
        answers(&site, "away.skydns.local.", Type::A),
        ["away.skydns.local. CNAME outside.example.", "outside.example. A 192.0.2.9"]
    );
    assert_eq!(answers(&site, "away.skydns.local.", Type::CNAME), ["away.skydns.local. CNAME outside.example."]);
    let srv = ask(&site.instance, &question("web.skydns.local.", Type::SRV));
    let mut lines = shown(&srv);
    lines.sort();
    assert_eq!(
        lines,
        [
            "web.skydns.local. SRV 20 33 8081 alias.skydns.local.",
            "web.skydns.local. SRV 20 66 8080 a.web.skydns.local.",
        ]
    );
    assert_eq!(srv.additionals.len(), 2);
    assert_eq!(
        answers(&site, "text.skydns.local.", Type::TXT),
        ["text.skydns.local. TXT \"this is a random text message.\""]
    );
    assert_eq!(answers(&site, "mail.skydns.local.", Type::MX), ["mail.skydns.local. MX 5 1.mail.skydns.local."]);
    assert_eq!(answers(&site, "skydns.local.", Type::NS), ["skydns.local. NS a.ns.dns.skydns.local."]);
    assert_eq!(
        answers(&site, "127.0.0.10.in-addr.arpa.", Type::PTR),
        ["127.0.0.10.in-addr.arpa. PTR reverse.skydns.local."]
    );
    assert_eq!(answers(&site, "group.skydns.local.", Type::A), ["group.skydns.local. A 10.0.1.1"]);
    assert_eq!(answers(&site, "*.web.skydns.local.", Type::A).len(), 3);
    for (name, rtype, rcode) in [
        ("web.skydns.local.", Type::CAA, Rcode::NOERROR),
        ("loop.skydns.local.", Type::A, Rcode::NOERROR),
        ("nowhere.skydns.local.", Type::A, Rcode::NXDOMAIN),
        ("9.0.0.10.in-addr.arpa.", Type::PTR, Rcode::SERVFAIL),
    ] {
        let answer = ask(&site.instance, &question(name, rtype));
        assert_eq!((answer.rcode(), answer.answers.len()), (rcode, 0), "{name}");
        assert_eq!(answer.authorities.len(), usize::from(rcode != Rcode::SERVFAIL), "{name}");
    }
    let passed_on = ask(&site.instance, &question("x.skydns.local.", Type::A));
    assert!(!passed_on.additionals.is_empty(), "whoami");
}

#[test]
fn an_etcd_that_is_away_is_no_answer_and_one_that_comes_back_is() {
    let mut site = site(&[("/local/skydns/web", r#"{"host":"10.0.0.1"}"#)], "");
    let asked = question("web.skydns.local.", Type::A);
    assert_eq!(ask(&site.instance, &asked).rcode(), Rcode::NOERROR);
    site.etcd.members_mut()[0].kill().unwrap();
    assert_eq!(ask(&site.instance, &asked).rcode(), Rcode::SERVFAIL);
    site.etcd.members_mut()[0].start().unwrap();
    assert_eq!(ask(&site.instance, &asked).rcode(), Rcode::NOERROR);
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("etcd {\ncredentials user\n}", "takes 2 arguments"),
        ("etcd {\nendpoint ftp://x\n}", "ftp://x is no endpoint"),
        ("etcd {\ntls /nonexistent/ca.pem\n}", "/nonexistent/ca.pem is no file"),
        ("etcd {\nmin-lease-ttl x\n}", "\"x\" is no time"),
        ("etcd {\nendpoints x\n}", "did you mean endpoint?"),
        ("etcd\netcd", "stands twice"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
