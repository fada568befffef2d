//! `tls`: certificates, who may come, and DNS over TLS as kdig and dig ask it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::plugins::testing::{build, refused, services};
use crate::server::secure_testing::{many_hosts, start};

#[test]
fn questions_by_tls_are_answered() {
    let case = start("tls", "", &many_hosts());
    let said = case.kdig(&["+tls", "one.example.org", "A"]);
    assert!(said.contains("status: NOERROR") && said.contains("10.1.0.1"), "{said}");
    let said = case.kdig(&["+tls", "many.example.org", "A"]);
    assert_eq!(said.matches("10.0.0.").count(), 200, "{said}");
    let (port, ca) = (case.port.to_string(), format!("+tls-ca={}", case.path("ca.crt")));
    let args = ["@127.0.0.1", "-p", &port, "+tls", &ca, "+tls-hostname=localhost", "+timeout=20", "one.example.org"];
    let said = case.run("dig", &args);
    assert!(said.contains("10.1.0.1"), "{said}");
    // Plain TCP is not answered at that port.
    let said = case.run("dig", &["@127.0.0.1", "-p", &port, "+tcp", "+timeout=5", "+tries=1", "one.example.org"]);
    assert!(!said.contains("10.1.0.1"), "{said}");
}

#[test]
fn clients_show_what_they_must() {
    for (client_auth, without, with_one) in [
        ("nocert", true, true),
        ("request", true, true),
        ("require", false, true),
        ("verify_if_given", true, true),
        ("require_and_verify", false, true),
    ] {
        let case = start("tls", &format!("ca.crt {{\n client_auth {client_auth}\n }}"), &many_hosts());
        let is_answered = |args: &[&str]| {
            let said = case.kdig(&[&["+tls", "one.example.org", "A"], args].concat());
            said.contains("10.1.0.1")
        };
        let certificate = format!("+tls-certfile={}", case.client.certificate.display());
        let key = format!("+tls-keyfile={}", case.client.key.display());
        let found = (is_answered(&[]), is_answered(&[&certificate, &key]));
        assert_eq!(found, (without, with_one), "{client_auth}");
    }
}

#[test]
fn a_certificate_of_another_authority_will_do_only_where_it_is_not_checked() {
    let other = start("tls", "", "whoami");
    let certificate = format!("+tls-certfile={}", other.client.certificate.display());
    let key = format!("+tls-keyfile={}", other.client.key.display());
    for (client_auth, is_taken) in [("require", true), ("verify_if_given", false), ("require_and_verify", false)] {
        let case = start("tls", &format!("ca.crt {{\n client_auth {client_auth}\n }}"), &many_hosts());
        let said = case.kdig(&["+tls", "one.example.org", "A", &certificate, &key]);
        assert_eq!(said.contains("10.1.0.1"), is_taken, "{client_auth}: {said}");
    }
}

/// What `openssl req -x509` makes, given as the authority of the clients that show it.
#[test]
fn a_client_s_own_certificate_is_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["known", "stranger"] {
        openssl(
            folder.path(),
            &format!("req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -subj /CN=a"),
        );
    }
    let path = |file: &str| folder.path().join(file).display().to_string();
    for client_auth in ["require_and_verify", "verify_if_given"] {
        let case = start("tls", &format!("{} {{\n client_auth {client_auth}\n }}", path("known.crt")), &many_hosts());
        for (name, is_taken) in [("known", true), ("stranger", false)] {
            let certificate = format!("+tls-certfile={}", path(&format!("{name}.crt")));
            let key = format!("+tls-keyfile={}", path(&format!("{name}.key")));
            let said = case.kdig(&["+tls", "one.example.org", "A", &certificate, &key]);
            assert_eq!(said.contains("10.1.0.1"), is_taken, "{client_auth} {name}: {said}");
        }
    }
}

fn openssl(folder: &std::path::Path, words: &str) {
    let ran = std::process::Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn keys_are_written_where_that_is_asked_for() {
    let case = start("tls", "{\n keylog keys\n }", "whoami");
    assert!(case.kdig(&["+tls", "example.org", "A"]).contains("NOERROR"));
    let keys = std::fs::read_to_string(case.path("keys")).unwrap();
    assert!(keys.contains("SERVER_HANDSHAKE_TRAFFIC_SECRET ") || keys.contains("CLIENT_RANDOM"), "{keys}");
}

#[test]
fn set_ups_as_in_coredns() {
    let folder = tempfile::tempdir().unwrap();
    let authority = bowline_lab::kubernetes::Authority::new(folder.path(), "test").unwrap();
    authority.server("a", &["a"], &[]).unwrap();
    authority.server("b", &["b"], &[]).unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    openssl(folder.path(), "req -new -newkey rsa:2048 -nodes -keyout v1.key -out v1.csr -subj /CN=a");
    openssl(folder.path(), "x509 -req -in v1.csr -signkey v1.key -out v1.crt");
    for (text, says) in [
        ("a.crt a.key", "accepted"),
        ("a.crt a.key ca.crt", "accepted"),
        ("a.crt a.key ca.crt {\n client_auth require_and_verify\n}", "accepted"),
        ("v1.crt v1.key", "accepted"),
        ("a.crt a.key v1.crt {\n client_auth require_and_verify\n}", "accepted"),
        ("a.crt a.key {\n client_auth any\n}", "\"any\" is none of nocert"),
        ("a.crt a.key {\n client_auth\n}", "takes one argument"),
        ("a.crt a.key {\n foo\n}", "is no option"),
        ("a.crt", "takes 2 to 3 arguments"),
        ("a.crt a.key ca.crt more", "takes 2 to 3 arguments"),
        ("{\n acme example.org\n}", "ACME is not spoken"),
        ("none.crt a.key", "none.crt can't be read"),
        ("empty a.key", "empty has no certificate"),
        ("a.crt a.crt", "a.crt has no private key"),
        ("a.crt b.key", "is not the key of the first certificate in"),
        ("a.crt a.key empty", "empty has no certificate"),
    ] {
        let text = format!("tls://example.org {{\n tls {text}\n whoami\n}}\n");
        let told = match build(&text, folder.path(), &services()) {
            Ok(_) => "accepted".to_owned(),
            Err(problem) => problem.to_string(),
        };
        assert!(told.contains(says), "{text}: {told}");
    }
    let told = refused("quic://example.org {\n whoami\n}\n");
    assert!(told.contains("needs a certificate"), "{told}");
}
