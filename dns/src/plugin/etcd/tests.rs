//! `etcd` with a real one: SkyDNS's layout, the examples of CoreDNS's README, one with TLS and users, and
//! one that is away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Authority, Etcd as Server, EtcdOptions, Place};

use super::*;
use crate::plugin::testing::{ask, build, question, refused, services, shown};
use crate::server::Instance;

/// An etcd with these keys below /skydns, and a server that asks it.
struct Site {
    instance: Instance,
    etcd: Server,
    // Last, so that everything goes before its folders do.
    _place: Place,
    lab: Lab,
}

/// Asks something of an etcd by its own HTTP gateway.
fn post(etcd: &Server, path: &str, body: &str) {
    let mut command = Command::new("curl");
    command.args(["-sSf", "-d", body, &format!("{}/v3/{path}", etcd.urls()[0])]);
    if let (Some(authority), Some(own)) = (etcd.authority(), etcd.client_certificate()) {
        command.arg("--cacert").arg(authority.certificate());
        command.arg("--cert").arg(&own.certificate).arg("--key").arg(&own.key);
    }
    let output = command.output().expect("curl");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
}

fn base64(text: &str) -> String {
    Data::from_bytes(text.as_bytes()).shown(Type::OPENPGPKEY).to_string()
}

fn site(keys: &[(&str, &str)], options: &str) -> Site {
    site_with(&EtcdOptions::default(), keys, options)
}

fn site_with(how: &EtcdOptions, keys: &[(&str, &str)], options: &str) -> Site {
    let lab = Lab::new("skydns").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Server::start(&place, how).unwrap();
    for (key, value) in keys {
        let (key, value) = (base64(&format!("/skydns{key}")), base64(value));
        post(&etcd, "kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    }
    Site { instance: instance(&etcd, options), etcd, _place: place, lab }
}

/// A server that asks this etcd, after one that isn't there.
fn instance(etcd: &Server, options: &str) -> Instance {
    let text = format!(
        ". {{\nhosts {{\n192.0.2.9 outside.example\nfallthrough\n}}\n\
         etcd skydns.local 10.0.0.0/24 {{\npath /skydns\nendpoint http://127.0.0.1:1 {}\n{options}\n}}\nwhoami\n}}\n",
        etcd.urls()[0]
    );
    build(&text, Path::new("/"), &services()).unwrap()
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

const WEB: [(&str, &str); 1] = [("/local/skydns/web", r#"{"host":"10.0.0.1"}"#)];

#[test]
fn an_etcd_that_wants_certificates_gets_them() {
    let site = site_with(&EtcdOptions { tls: true, ..EtcdOptions::default() }, &WEB, "");
    let ca = site.etcd.authority().unwrap().certificate();
    let own = site.etcd.client_certificate().unwrap();
    let [ca, certificate, key] = [&ca, &own.certificate, &own.key].map(|file| file.display().to_string());
    let other = Authority::new(&site.lab.folder("other").unwrap(), "another").unwrap();
    let other = other.certificate().display().to_string();
    let asked = question("web.skydns.local.", Type::A);
    for (tls, rcode) in [
        (format!("tls {certificate} {key} {ca}"), Rcode::NOERROR),
        // No certificate of its own; the server's from another authority, and from none that the system knows.
        (format!("tls {ca}"), Rcode::SERVFAIL),
        (format!("tls {certificate} {key} {other}"), Rcode::SERVFAIL),
        (format!("tls {certificate} {key}"), Rcode::SERVFAIL),
        (String::new(), Rcode::SERVFAIL),
    ] {
        assert_eq!(ask(&instance(&site.etcd, &tls), &asked).rcode(), rcode, "{tls}");
    }
}

#[test]
fn an_etcd_that_wants_a_user_gets_one() {
    let mut site = site(&WEB, "credentials dns good");
    let etcd = &site.etcd;
    for user in ["root", "dns", "stranger"] {
        post(etcd, "auth/user/add", &format!(r#"{{"name":"{user}","password":"good"}}"#));
    }
    for (user, role) in [("root", "root"), ("dns", "reader")] {
        post(etcd, "auth/role/add", &format!(r#"{{"name":"{role}"}}"#));
        post(etcd, "auth/user/grant", &format!(r#"{{"user":"{user}","role":"{role}"}}"#));
    }
    // All that begins with it.
    let (from, to) = (base64("/skydns/"), base64("/skydns0"));
    let may = format!(r#"{{"name":"reader","perm":{{"permType":"READ","key":"{from}","range_end":"{to}"}}}}"#);
    post(etcd, "auth/role/grant", &may);
    post(etcd, "auth/enable", "{}");
    let asked = question("web.skydns.local.", Type::A);
    for (credentials, rcode) in [
        ("credentials dns good", Rcode::NOERROR),
        ("credentials dns bad", Rcode::SERVFAIL),
        ("credentials stranger good", Rcode::SERVFAIL),
        ("", Rcode::SERVFAIL),
    ] {
        assert_eq!(ask(&instance(etcd, credentials), &asked).rcode(), rcode, "{credentials}");
    }
    // Its tokens end with the server that gave them; the next one is asked for another.
    assert_eq!(ask(&site.instance, &asked).rcode(), Rcode::NOERROR);
    site.etcd.members_mut()[0].kill().unwrap();
    site.etcd.members_mut()[0].start().unwrap();
    assert_eq!(ask(&site.instance, &asked).rcode(), Rcode::NOERROR);
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("etcd {\ncredentials user\n}", "takes 2 arguments"),
        ("etcd {\nendpoint ftp://x\n}", "ftp://x is no endpoint"),
        ("etcd {\ntls /nonexistent/ca.pem\n}", "/nonexistent/ca.pem can't be read"),
        ("etcd {\nmin-lease-ttl x\n}", "\"x\" is no time"),
        ("etcd {\nendpoints x\n}", "did you mean endpoint?"),
        ("etcd\netcd", "stands twice"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
