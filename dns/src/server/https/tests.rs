//! DNS over HTTPS, asked by curl and kdig, by both versions of HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::server::secure_testing::{Case, many_hosts, start};
use crate::wire::{Message, Rcode, Type};

/// Asks by curl; the status, the headers and the body.
fn curl(case: &Case, path: &str, args: &[&str]) -> (u16, String, Vec<u8>) {
    let (headers, body) = (case.path("headers"), case.path("body"));
    let url = format!("https://localhost:{}{path}", case.port);
    let ca = case.path("ca.crt");
    let common = ["-s", "-m", "60", "--cacert", &ca, "-D", &headers, "-o", &body, "-w", "%{http_code}", &url];
    let status = case.run("curl", &[&common[..], args].concat());
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let status = status.parse().unwrap_or_else(|_| panic!("{status:?}"));
    (status, String::from_utf8(read(&headers)).unwrap().to_lowercase(), read(&body))
}

fn question(name: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    crate::plugin::testing::question(name, Type::A).write(&mut raw);
    raw
}

#[test]
fn get_and_post_are_answered_by_both_versions_of_http() {
    let case = start("https", "", &many_hosts());
    let asked = case.path("question");
    std::fs::write(&asked, question("one.example.org.")).unwrap();
    let data = format!("@{asked}");
    let post = ["--data-binary", &data, "-H", "Content-Type: application/dns-message"];
    // The same question as base64url.
    let get = "/dns-query?dns=AAcBAAABAAAAAAAAA29uZQdleGFtcGxlA29yZwAAAQAB";
    for version in ["--http1.1", "--http2"] {
        for (path, args) in [("/dns-query", &post[..]), (get, &[])] {
            let (status, headers, body) = curl(&case, path, &[args, &[version]].concat());
            assert_eq!(status, 200, "{version} {path}");
            assert!(headers.contains("content-type: application/dns-message"), "{headers}");
            assert!(headers.contains("cache-control: max-age=3600"), "{headers}");
            assert_eq!(headers.starts_with("http/2"), version == "--http2");
            let answer = Message::read(&body).unwrap();
            assert_eq!((answer.id, answer.rcode(), answer.answers.len()), (7, Rcode::NOERROR, 1));
        }
    }
    let page = case.services.metrics.page();
    let line = format!("{{server=\"https://127.0.0.1:{}\",status=\"200\"}} 4", case.port);
    assert!(page.contains(&line), "{page}");
}

#[test]
fn what_is_no_question_is_told_so() {
    let case = start("https", "", "whoami");
    std::fs::write(case.path("large"), vec![0; 70_000]).unwrap();
    let large = format!("@{}", case.path("large"));
    for (path, args, expected) in [
        ("/", &[][..], 404),
        ("/dns-queries", &[], 404),
        ("/dns-query", &[], 400),
        ("/dns-query?dns=AAAA", &[], 400),
        ("/dns-query?dns=***", &[], 400),
        ("/dns-query", &["-X", "PUT", "--data", "x"], 400),
        ("/dns-query", &["--data-binary", &large], 400),
    ] {
        let (status, _, _) = curl(&case, path, args);
        assert_eq!(status, expected, "{path} {args:?}");
    }
    let page = case.services.metrics.page();
    assert!(page.contains("status=\"404\"} 2") && page.contains("status=\"400\"} 5"), "{page}");
}

#[test]
fn kdig_gets_answers_that_are_longer_than_a_datagram() {
    let case = start("https", "", &many_hosts());
    for method in ["+https", "+https-get"] {
        let said = case.kdig(&[method, "many.example.org", "A"]);
        assert_eq!(said.matches("IN\tA\t10.0.").count() + said.matches("IN A 10.0.").count(), 200, "{said}");
    }
}

#[test]
fn an_end_lets_connections_finish() {
    let case = start("https", "", "whoami");
    assert!(case.kdig(&["+https", "example.org", "A"]).contains("NOERROR"));
    case.running.stop();
}
