//! `etcd` with a real one: SkyDNS's layout, the examples of CoreDNS's README, one with TLS and users, and
//! one that is away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Authority, Etcd as Server, EtcdOptions, Place};

use super::*;
use crate::address::Transport;
use crate::plugins::testing::{ask, ask_by, build, question, refused, services, shown};
use crate::server::Instance;
use crate::wire::Message;

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
    command.args(["-sSf", "-d", "@-", &format!("{}/v3/{path}", etcd.urls()[0])]);
    if let (Some(authority), Some(own)) = (etcd.authority(), etcd.client_certificate()) {
        command.arg("--cacert").arg(authority.certificate());
        command.arg("--cert").arg(&own.certificate).arg("--key").arg(&own.key);
    }
    let mut curl = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("curl");
    curl.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = curl.wait_with_output().unwrap();
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
    let text = corefile("", &format!("http://127.0.0.1:1 {}", etcd.urls()[0]), options);
    build(&text, Path::new("/"), &services()).unwrap()
}

/// Names of etcd, one beside them, and nothing else.
fn corefile(port: &str, endpoints: &str, options: &str) -> String {
    format!(
        "skydns.local{port} 10.0.0.0/24{port} {{\netcd skydns.local 10.0.0.0/24 {{\npath /skydns\n\
         endpoint {endpoints}\n{options}\n}}\nwhoami\n}}\n\
         outside.example{port} {{\nhosts {{\n192.0.2.9 outside.example\n}}\n}}\n"
    )
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

/// CoreDNS itself on the same etcd.
struct CoreDns {
    process: std::process::Child,
    port: u16,
}

impl CoreDns {
    fn beside(site: &Site) -> CoreDns {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = site.lab.folder("coredns").unwrap().join("Corefile");
        let text = corefile(&format!(":{port}"), &site.etcd.urls()[0], "fallthrough x.skydns.local");
        std::fs::write(&conf, text).unwrap();
        let mut command = Command::new(bowline_lab::kubernetes::binary("coredns").unwrap());
        let command = command.arg("-conf").arg(conf).stdout(Stdio::null()).stderr(Stdio::null());
        let coredns = CoreDns { process: command.spawn().unwrap(), port };
        bowline_lab::wait_for("CoreDNS answers", Duration::from_secs(60), || {
            let answer = coredns.ask(&question("skydns.local.", Type::SOA));
            answer.is_some_and(|answer| answer.rcode() == Rcode::NOERROR)
        })
        .unwrap();
        coredns
    }

    fn ask(&self, message: &Message) -> Option<Message> {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        socket.send(&bytes).ok()?;
        let mut answer = vec![0; 65_536];
        let length = socket.recv(&mut answer).ok()?;
        Some(Message::read(&answer[..length]).unwrap())
    }
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The code, and the records of a section in any order.
fn told(message: &Message) -> (Rcode, BTreeSet<String>, BTreeSet<String>) {
    let lines = |records: &[Record]| records.iter().map(|record| record.to_string().to_lowercase()).collect();
    (message.rcode(), lines(&message.answers), lines(&message.additionals))
}

#[test]
fn answers_are_those_of_coredns() {
    let long = format!(r#"{{"text":"{}"}}"#, "0123456789".repeat(60));
    let keys = [
        // An alias that ExternalDNS wrote, to a name that nobody here serves, and one to a name of another block.
        ("/local/skydns/cloud", r#"{"host":"lb-1.cloud.example","ttl":60}"#),
        ("/local/skydns/away/1", r#"{"host":"outside.example"}"#),
        ("/local/skydns/away/2", r#"{"host":"also.elsewhere.example","port":443}"#),
        // Names of fields in any letters, the last of several, nulls, fields that nobody knows.
        ("/local/skydns/case/1", r#"{"Host":"10.0.2.1","PORT":1,"Priority":2,"wEIGHT":3,"TTL":44}"#),
        ("/local/skydns/case/2", r#"{"HOST":"10.0.2.2","host":"10.0.2.3","ttl":null,"other":[1]}"#),
        ("/local/skydns/case/3", r#"{"host":"10.0.2.4","Host":"10.0.2.5","text":"Both"}"#),
        ("/local/skydns/case/Upper", r#"{"host":"10.0.2.6","tExT":"upper"}"#),
        ("/local/skydns/Upper", r#"{"host":"10.0.2.7"}"#),
        // What ExternalDNS's registry of TXT records leaves.
        ("/local/skydns/owned", r#"{"host":"lb-2.cloud.example","text":"heritage=external-dns"}"#),
        ("/local/skydns/both/1a2b", r#"{"host":"10.0.3.1","text":"heritage=external-dns","targetstrip":1}"#),
        ("/local/skydns/both/3c4d", r#"{"host":"10.0.3.2","priority":7,"targetstrip":1}"#),
        ("/local/skydns/texts/1", r#"{"text":"a \"quoted\" ; text"}"#),
        ("/local/skydns/texts/2", &long),
        ("/local/skydns/texts/3", r#"{"text":"back\\slash \\; \\034 v=1"}"#),
        ("/local/skydns/mail/1", r#"{"host":"mx.example","mail":true,"text":"m"}"#),
        ("/local/skydns/mail/2", r#"{"host":"10.0.4.1","mail":true,"priority":5}"#),
        ("/local/skydns/weight/1", r#"{"host":"10.0.5.1","weight":100000,"port":1}"#),
        ("/local/skydns/weight/2", r#"{"host":"10.0.5.2","port":2}"#),
        ("/local/skydns/weight/3", r#"{"host":"10.0.5.3","port":-1}"#),
        ("/local/skydns/strip", r#"{"host":"deep.name.skydns.local","targetstrip":1,"port":9}"#),
        ("/local/skydns/strip-all", r#"{"host":"deep.name.example","targetstrip":9}"#),
        ("/local/skydns/strip-none", r#"{"host":"deep.name.example","targetstrip":-1}"#),
        ("/local/skydns/name", r#"{"host":"10.0.6.1"}"#),
        ("/local/skydns/null", "null"),
        ("/local/skydns/mapped", r#"{"host":"::ffff:10.0.7.1"}"#),
        ("/local/skydns/dns/apex/1", r#"{"host":"10.0.8.1"}"#),
        ("/local/skydns/dns/ns/a", r#"{"host":"10.0.8.2","text":"t"}"#),
        ("/local/skydns/dns/ns/b", r#"{"host":"ns.example","text":"a text, so no name server"}"#),
        ("/arpa/in-addr/10/0/0/1", r#"{"host":"one.skydns.local","text":"t"}"#),
    ];
    let site = site(&keys, "fallthrough x.skydns.local");
    let coredns = CoreDns::beside(&site);
    let types =
        [Type::A, Type::AAAA, Type::TXT, Type::CNAME, Type::SRV, Type::MX, Type::NS, Type::PTR, Type::CAA, Type::ANY];
    let names = "cloud away 1.away 2.away case 1.case 3.case upper.case upper owned both texts 1.texts mail 1.mail 2.mail \
                 weight strip strip-all strip-none name null mapped nowhere a.name *.case any.away *.*";
    let names = names.split_whitespace().map(|name| format!("{name}.skydns.local."));
    let mut wrong = Vec::new();
    for name in names.chain(["skydns.local.".into(), "SkyDNS.local.".into(), "1.0.0.10.in-addr.arpa.".into()]) {
        for rtype in types {
            let asked = question(&name, rtype);
            let (ours, theirs) = (ask(&site.instance, &asked), coredns.ask(&asked).unwrap());
            let ((code, answers, more), (their_code, their_answers, their_more)) = (told(&ours), told(&theirs));
            // AAAA of targets in the zone is more than CoreDNS tells.
            if (code, &answers) != (their_code, &their_answers) || !more.is_superset(&their_more) {
                wrong.push(format!("{name} {rtype}:\n{:#?}\nCoreDNS: {:#?}", told(&ours), told(&theirs)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_value_spoils_no_other_and_is_told_once() {
    let bad = [
        r#"{"host":"10.0.0.2","port":70000}"#,
        r#"{"host":"10.0.0.2","port":"80"}"#,
        r#"{"host":"10.0.0.2","priority":70000}"#,
        r#"{"host":"10.0.0.2","weight":-1}"#,
        r#"{"host":"10.0.0.2","ttl":-1}"#,
        r#"{"host":["10.0.0.2"]}"#,
        r#"{"host":"10.0.0.2","mail":"yes"}"#,
        r#"{"host":"a..b"}"#,
        r#"{"host":"10.0.0.2""#,
        "10.0.0.2",
        "[]",
        "",
    ];
    let keys: Vec<(String, &str)> =
        (0..).zip(bad).map(|(n, bad)| (format!("/local/skydns/web/bad-{n:02}"), bad)).collect();
    let mut keys: Vec<(&str, &str)> = keys.iter().map(|(key, bad)| (key.as_str(), *bad)).collect();
    keys.push(("/local/skydns/web/good", r#"{"host":"10.0.0.1","port":80,"mail":true}"#));
    let site = site(&keys, "");
    let said = Said::default();
    let _log = tracing::subscriber::set_default(said.clone());
    for _ in 0..2 {
        for (rtype, data) in [
            (Type::A, "10.0.0.1"),
            (Type::SRV, "10 100 80 good.web.skydns.local."),
            (Type::MX, "10 good.web.skydns.local."),
        ] {
            let answer = answers(&site, "web.skydns.local.", rtype);
            assert!(answer.contains(&format!("web.skydns.local. {rtype} {data}")), "{answer:?}");
        }
    }
    // What hinders SRV alone leaves the address.
    assert_eq!(answers(&site, "bad-00.web.skydns.local.", Type::A).len(), 1);
    assert_eq!(answers(&site, "bad-00.web.skydns.local.", Type::SRV).len(), 0);
    assert_eq!(ask(&site.instance, &question("bad-10.web.skydns.local.", Type::A)).rcode(), Rcode::SERVFAIL);
    let said = said.0.lock().unwrap();
    for n in 0..bad.len() {
        let key = format!("/skydns/local/skydns/web/bad-{n:02}");
        assert_eq!(said.iter().filter(|line| line.contains(&key)).count(), 1, "{key}: {said:#?}");
    }
}

/// What was logged, a line each.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Said {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn thousands_of_records_below_a_name_are_more_than_a_message_of_grpc() {
    let site = site(&[], "");
    let text = "x".repeat(4000);
    let put = |n: usize| {
        let key = base64(&format!("/skydns/local/skydns/many/{n}"));
        let value = base64(&format!(r#"{{"host":"10.1.{}.{}","text":"{text}"}}"#, n / 250, n % 250));
        format!(r#"{{"requestPut":{{"key":"{key}","value":"{value}"}}}}"#)
    };
    for chunk in (0..1200).collect::<Vec<_>>().chunks(100) {
        let puts: Vec<String> = chunk.iter().map(|n| put(*n)).collect();
        post(&site.etcd, "kv/txn", &format!(r#"{{"success":[{}]}}"#, puts.join(",")));
    }
    // TCP's 64 KiB hold less of it; what counts is that it was read.
    let answer = ask_by(&site.instance, &question("many.skydns.local.", Type::A), Transport::Tcp);
    assert_eq!(answer.rcode(), Rcode::NOERROR);
    assert!(answer.answers.len() > 1000, "{}", answer.answers.len());
    assert_eq!(ask(&site.instance, &question("many.skydns.local.", Type::CAA)).rcode(), Rcode::NOERROR);
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
