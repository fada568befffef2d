//! `dnssec`, judged by delv (BIND's validator) with each algorithm's keys; and what needs no judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::process::Command;

use super::*;
use crate::plugins::testing::{ask, build, dnssec_question, question, refused, services};
use crate::server::{Running, Settings};

const ZONE: &str = "@ 60 SOA ns root 1 3600 600 86400 60\n@ 60 NS ns\n@ 60 MX 10 Mail\nns 60 A 10.0.0.1\n\
    www 60 A 10.0.0.2\nwww 60 A 10.0.0.1\nalias 60 CNAME WWW\ngone 60 CNAME nowhere\n*.wild 60 TXT \"a\" \"b\"\n\
    sub 60 NS ns.sub\nns.sub 60 A 10.0.0.3\nsafe 60 NS ns.sub\nsafe 60 DS 1 13 2 \
    AABBCCDDEEFF00112233445566778899AABBCCDDEEFF00112233445566778899\nsrv 60 SRV 1 2 3 Www\n";

/// Makes a pair by BIND's dnssec-keygen, with files of this name; gives the public key's text.
fn write(folder: &std::path::Path, name: &str, flags: u16, algorithm: u8) -> String {
    let mut command = Command::new("dnssec-keygen");
    command.args(["-q", "-a", &algorithm.to_string(), "-K"]).arg(folder);
    command.args(if [8, 10].contains(&algorithm) { &["-b", "2048"][..] } else { &[] });
    command.args(if flags == 257 { &["-f", "KSK"][..] } else { &[] });
    let output = command.arg("example.org").output().expect("dnssec-keygen, of the package bind9-utils");
    let made = String::from_utf8(output.stdout).unwrap();
    for end in ["key", "private"] {
        let made = folder.join(format!("{}.{end}", made.trim()));
        std::fs::rename(&made, folder.join(format!("{name}.{end}")))
            .unwrap_or_else(|error| panic!("{}: {error}; {}", made.display(), String::from_utf8_lossy(&output.stderr)));
    }
    let text = std::fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
    let record = text.lines().find(|line| !line.starts_with(';')).unwrap();
    let (_, public) = record.split_once(&format!("DNSKEY {flags} 3 {algorithm} ")).unwrap();
    public.replace(' ', "")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db"), ZONE).unwrap();
    folder
}

/// What delv says of a question, with this key as its trust.
fn delv(folder: &std::path::Path, port: u16, anchor: &str, name: &str, rtype: &str) -> String {
    let path = folder.join("anchor");
    std::fs::write(&path, format!("trust-anchors {{ example.org. static-key {anchor}; }};\n")).unwrap();
    let mut command = Command::new("delv");
    command.arg("@127.0.0.1").args(["-p", &port.to_string(), "-a"]).arg(&path);
    let output = command.args(["+root=example.org", name, rtype]).output().expect("delv, of the package dnsutils");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_validator_is_satisfied() {
    for algorithm in [8, 10, 13, 14, 15] {
        for is_split in [false, true] {
            let folder = folder();
            let entry = write(folder.path(), "Kentry", 257, algorithm);
            let mut keys = String::from("key file Kentry.key");
            if is_split {
                write(folder.path(), "Kzone", 256, algorithm);
                keys.push_str("\nkey file Kzone.private");
            }
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let conf = folder.path().join("Corefile");
            std::fs::write(&conf, format!("example.org {{\nfile db\ndnssec {{\n{keys}\n}}\n}}\n")).unwrap();
            let running =
                Running::start(Settings { conf, port, threads: 1, prepare: None, ahead: None }, services()).unwrap();
            let anchor = format!("257 3 {algorithm} \"{entry}\"");
            for (name, rtype, expected) in [
                ("www.example.org", "A", "; fully validated"),
                ("WWW.example.org", "A", "; fully validated"),
                ("example.org", "MX", "; fully validated"),
                ("example.org", "SOA", "; fully validated"),
                ("example.org", "DNSKEY", "; fully validated"),
                ("alias.example.org", "A", "; fully validated"),
                ("srv.example.org", "SRV", "; fully validated"),
                ("safe.example.org", "DS", "; fully validated"),
                ("www.example.org", "TXT", "; negative response, fully validated"),
                ("nowhere.example.org", "A", "; negative response, fully validated"),
                ("example.org", "CAA", "; negative response, fully validated"),
                ("gone.example.org", "A", "; fully validated"),
                ("sub.example.org", "DS", "; negative response, fully validated"),
            ] {
                let said = delv(folder.path(), port, &anchor, name, rtype);
                assert!(said.contains(expected), "{algorithm} {is_split} {name} {rtype}: {said}");
            }
            running.stop();
        }
    }
}

#[test]
fn who_does_not_ask_for_it_gets_no_dnssec() {
    let (folder, services) = (folder(), services());
    write(folder.path(), "Kexample.org", 257, 13);
    let text = "example.org {\nfile db\ndnssec {\nkey file Kexample.org\ncache_capacity 16\n}\n}\n";
    let instance = build(text, folder.path(), &services).unwrap();
    let plain = ask(&instance, &question("nowhere.example.org.", Type::A));
    assert_eq!((plain.rcode(), plain.authorities.len()), (Rcode::NXDOMAIN, 1));
    assert_eq!(ask(&instance, &question("example.org.", Type::DNSKEY)).answers.len(), 1);
    // Signed: a denial says that the name is there; what is the same is signed once.
    for _ in 0..3 {
        let answer = ask(&instance, &dnssec_question("nowhere.example.org.", Type::A));
        let types: Vec<_> = answer.authorities.iter().map(|record| record.rtype).collect();
        assert_eq!((answer.rcode(), types), (Rcode::NOERROR, [Type::SOA, Type::NSEC, Type::RRSIG, Type::RRSIG].into()));
    }
    let referral = ask(&instance, &dnssec_question("host.sub.example.org.", Type::A));
    let nsec = referral.authorities.iter().find(|record| record.rtype == Type::NSEC).unwrap();
    assert_eq!(nsec.name.to_string(), "sub.example.org.");
    let page = services.metrics.page();
    assert!(page.contains("coredns_dnssec_cache_hits_total{server=\"dns://127.0.0.1:53\"} 4\n"), "{page}");
    assert!(page.contains("coredns_dnssec_cache_misses_total{server=\"dns://127.0.0.1:53\"} 3\n"), "{page}");
    assert!(
        page.contains("coredns_dnssec_cache_entries{server=\"dns://127.0.0.1:53\",type=\"signature\"} 3\n"),
        "{page}"
    );
    // The cache is bounded.
    for n in 0..200 {
        ask(&instance, &dnssec_question(&format!("n{n}.example.org."), Type::A));
    }
    let page = services.metrics.page();
    let line = page.lines().find(|line| line.starts_with("coredns_dnssec_cache_entries{")).unwrap();
    let count: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(count <= 16.0, "{line}");
}

#[test]
fn the_key_tag_is_that_of_rfc_4034() {
    // RFC 4034 §5.4's key: 60485.
    let text = "dskey.example.com. 86400 IN DNSKEY 256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";
    let record = crate::wire::text::record_from_text(text, None).unwrap();
    assert_eq!(key::tag(record.data.as_bytes()), 60485);
}

#[test]
fn what_is_wrong_is_told() {
    let folder = folder();
    write(folder.path(), "Kother", 257, 13);
    let told = |body: &str| match build(&format!("{body}\n"), folder.path(), &services()) {
        Ok(_) => panic!("{body} is accepted"),
        Err(problem) => problem.to_string(),
    };
    assert!(told("example.net {\ndnssec {\nkey file Kother\n}\n}").contains("a key of example.org., which has none"));
    assert!(told("example.org {\ndnssec {\nkey file Kmissing\n}\n}").contains("Kmissing.key"));
    std::fs::write(folder.path().join("Kother.private"), "Algorithm: 15\n").unwrap();
    assert!(told("example.org {\ndnssec {\nkey file Kother\n}\n}").contains("its algorithm is not that"));
    std::fs::write(folder.path().join("Kother.private"), "Algorithm: 13\n").unwrap();
    assert!(told("example.org {\ndnssec {\nkey file Kother\n}\n}").contains("has no PrivateKey"));
    for algorithm in [5, 7] {
        std::fs::write(folder.path().join("Kother.key"), format!("example.org. DNSKEY 257 3 {algorithm} AwEAAQ=="))
            .unwrap();
        std::fs::write(folder.path().join("Kother.private"), format!("Algorithm: {algorithm}\n")).unwrap();
        let problem = told("example.org {\ndnssec {\nkey file Kother\n}\n}");
        assert!(problem.starts_with("Corefile:3: key: ") && problem.contains("signs with SHA-1"), "{problem}");
    }
    for (body, told) in [
        ("dnssec\ndnssec", "stands twice"),
        ("dnssec {\nkey aws_secretsmanager x\n}", "not supported here: use `key file`"),
        ("dnssec {\nkey x\n}", "takes at least 2 arguments"),
        ("dnssec {\ncache_capacity x\n}", "is not a number of signatures"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
