//! DNS over HTTPS, asked by curl and kdig, by both versions of HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::server::secure_testing::{Case, many_hosts, start, start_behind_proxy};
use crate::wire::{Message, Rcode, Type};

/// Asks by curl; the status, the headers and the body.
fn curl(case: &Case, path: &str, args: &[&str]) -> (u16, String, Vec<u8>) {
    curl_by("https", case, path, args)
}

fn curl_by(scheme: &str, case: &Case, path: &str, args: &[&str]) -> (u16, String, Vec<u8>) {
    let (headers, body) = (case.path("headers"), case.path("body"));
    let url = format!("{scheme}://localhost:{}{path}", case.port);
    let ca = case.path("ca.crt");
    let common = ["-s", "-m", "60", "--cacert", &ca, "-D", &headers, "-o", &body, "-w", "%{http_code}", &url];
    let status = case.run("curl", &[&common[..], args].concat());
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let status = status.parse().unwrap_or_else(|_| panic!("{status:?}"));
    (status, String::from_utf8(read(&headers)).unwrap().to_lowercase(), read(&body))
}

fn question(name: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    crate::plugins::testing::question(name, Type::A).write(&mut raw);
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

#[test]
fn behind_a_proxy_that_ends_tls_both_versions_of_http_are_plain() {
    let case = start_behind_proxy("https", &many_hosts());
    let get = "/dns-query?dns=AAcBAAABAAAAAAAAA29uZQdleGFtcGxlA29yZwAAAQAB";
    for (version, begin) in
        [("--http1.1", "http/1.1 200"), ("--http2", "http/1.1 200"), ("--http2-prior-knowledge", "http/2 200")]
    {
        let (status, headers, body) = curl_by("http", &case, get, &[version]);
        assert_eq!(status, 200, "{version}");
        assert!(headers.starts_with(begin), "{version}: {headers}");
        assert_eq!(Message::read(&body).unwrap().answers.len(), 1);
    }
    assert_eq!(curl_by("http", &case, "/", &["--http2-prior-knowledge"]).0, 404);
    // DNS over TLS is plain DNS over TCP there; without TLS there is no QUIC.
    let case = start_behind_proxy("tls", "whoami");
    let said = case.run("kdig", &["@127.0.0.1", "-p", &case.port.to_string(), "+tcp", "example.org", "A"]);
    assert!(said.contains("NOERROR"), "{said}");
    let refused = crate::plugins::asker::refusal("quic://example.org {\n whoami\n}\n");
    assert!(refused.contains("quic://example.org") && refused.contains("needs a certificate"), "{refused}");
}

#[test]
fn every_method_and_path_is_answered_in_whole() {
    let case = start("https", "", "whoami");
    let question = "/dns-query?dns=AAcBAAABAAAAAAAAA29uZQdleGFtcGxlA29yZwAAAQAB";
    for version in ["--http1.1", "--http2"] {
        for (path, args, expected, length) in [
            (question, &["-I"][..], 400, 16),
            ("/", &["-I"], 404, 1),
            (question, &["-X", "OPTIONS"], 400, 16),
            (question, &["-X", "DELETE"], 400, 16),
            (question, &["-X", "PATCH", "--data", "x"], 400, 16),
            (question, &["-X", "QUERY"], 400, 16),
            ("/other", &["-X", "POST", "--data", "x"], 404, 1),
        ] {
            // Whatever goes wrong, a stream that is reset say, is in what is printed.
            let words = [args, &[version, "-S"]].concat();
            let (status, headers, body) = curl(&case, path, &words);
            assert_eq!(status, expected, "{version} {path} {args:?}");
            assert!(headers.contains(&format!("content-length: {length}\r")), "{version} {path} {args:?}: {headers}");
            assert!(
                headers.contains("x-content-type-options: nosniff") && headers.contains("text/plain; charset=utf-8")
            );
            if !args.contains(&"-I") {
                assert_eq!(body.len(), length, "{version} {path} {args:?}");
            }
        }
    }
}

#[test]
fn who_asks_nothing_is_not_waited_for_longer_than_read_says() {
    use std::io::{Read as _, Write as _};
    // Long enough that what ends a connection can't be `idle`, or `write`.
    let timeouts = "timeouts {\n read 1s\n write 600s\n idle 600s\n}\n";
    for (scheme, begins) in [
        ("dns", &[&b""[..], b"\0", b"\0\x40", b"\0\x40\0\x07"][..]),
        ("tls", &[b"", b"\x16\x03\x01"]),
        ("https", &[b"", b"\x16\x03\x01"]),
    ] {
        let case = start(scheme, "", &format!("whoami\n{timeouts}"));
        for begin in begins {
            assert_closed(&case, begin);
        }
    }
    let case = start_behind_proxy("https", &format!("whoami\n{timeouts}"));
    for begin in [&b""[..], b"GET /dns-query HTTP/1.1\r\nHost: a\r\n", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        assert_closed(&case, begin);
    }
    // Whoever has asked may be silent for longer.
    let case = start_behind_proxy("tls", &format!("whoami\n{timeouts}"));
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", case.port)).unwrap();
    let raw = question("example.org.");
    let framed = [&(raw.len() as u16).to_be_bytes()[..], &raw].concat();
    for _ in 0..2 {
        stream.write_all(&framed).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1500));
    }
}

/// The server closes a connection of which nothing but this comes.
fn assert_closed(case: &Case, begin: &[u8]) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", case.port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    stream.write_all(begin).unwrap();
    let mut said = Vec::new();
    // HTTP/2 says something first; what is unread when it closes resets the connection.
    let ended = stream.read_to_end(&mut said);
    let is_late = ended.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionReset);
    assert!(!is_late, "{begin:?}: {ended:?}");
}
