//! Keys as CoreDNS 1.14.7 reads them; the refusals beyond it are marked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Key, Scheme, zones_of};
use crate::corefile::SourceLine;

fn place() -> SourceLine {
    SourceLine { file: "Corefile".into(), line: 7 }
}

#[test]
fn scheme_zone_and_port() {
    let cases = [
        (".", Scheme::Dns, None, "."),
        (".:53", Scheme::Dns, Some(53), "."),
        ("dns://.:1053", Scheme::Dns, Some(1053), "."),
        ("Example.ORG", Scheme::Dns, None, "example.org."),
        ("example.org.:0053", Scheme::Dns, Some(53), "example.org."),
        ("tls://example.org", Scheme::Tls, None, "example.org."),
        ("https://.:8443", Scheme::Https, Some(8443), "."),
        ("quic://example.org", Scheme::Quic, None, "example.org."),
        ("10.0.0.0/24:5300", Scheme::Dns, Some(5300), "0.0.10.in-addr.arpa."),
        ("2001:db8::/32", Scheme::Dns, None, "8.b.d.0.1.0.0.2.ip6.arpa."),
        ("tls://2001:db8::/32:853", Scheme::Tls, Some(853), "8.b.d.0.1.0.0.2.ip6.arpa."),
        ("0/25.2.0.192.in-addr.arpa", Scheme::Dns, None, "0/25.2.0.192.in-addr.arpa."),
    ];
    for (text, scheme, port, zone) in cases {
        let (key, warning) = Key::parse(text, &place()).unwrap();
        let zones: Vec<String> = key.zones.iter().map(ToString::to_string).collect();
        assert_eq!((key.scheme, key.port, zones), (scheme, port, vec![zone.to_string()]), "{text}");
        assert_eq!(warning, None, "{text}");
    }
}

#[test]
fn ports_by_scheme() {
    let port = |text| Key::parse(text, &place()).unwrap().0.port_or(1053);
    assert_eq!(port("."), 1053);
    assert_eq!(port("dns://."), 1053);
    assert_eq!(port(".:53"), 53);
    assert_eq!(port("tls://."), 853);
    assert_eq!(port("https://."), 443);
    assert_eq!(port("quic://."), 853);
}

#[test]
fn refusals_say_why() {
    let cases = [
        ("", "the zone is missing"),
        (":53", "the zone is missing"),
        ("dns://:53", "the zone is missing"),
        ("example.org:", "the port after the colon is missing"),
        (".:99999", "the port 99999 is not one from 0 to 65535"),
        (".:-1", "the port -1 is not one from 0 to 65535"),
        ("grpc://.", "grpc:// is known, but not supported here"),
        ("https3://.", "https3:// is known, but not supported here"),
        ("a..b", "is not a domain name"),
        ("::/0", "not an address block"),
        ("0:0::/16", "not an address block"),
        // CoreDNS takes these for names.
        ("ftp://.", "ftp:// is no known scheme"),
        ("a.org,b.org", "put a space after each comma"),
        ("example.org{", "put a space before the {"),
        ("10.0.0.0/33", "not a number from 0 to 32"),
    ];
    for (text, reason) in cases {
        let told = Key::parse(text, &place()).unwrap_err().to_string();
        assert!(told.starts_with("Corefile:7: ") && told.contains(reason), "{text}: {told}");
    }
    let long = format!("{}.org", "a".repeat(64));
    assert!(Key::parse(&long, &place()).is_err());
}

#[test]
fn an_address_is_no_zone() {
    for text in ["127.0.0.1:53", "[::1]:53"] {
        let (_, warning) = Key::parse(text, &place()).unwrap();
        assert!(warning.unwrap().contains("use bind"), "{text}");
    }
}

#[test]
fn zones_of_arguments() {
    let zones = |text| zones_of(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(zones("dns://Example.org:53"), ["example.org."]);
    assert_eq!(zones("192.168.0.0/23"), ["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."]);
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,300}") {
        let _ = Key::parse(&text, &place());
    }

    #[test]
    fn never_panics_near_keys(text in "((dns|tls)://)?[0-9a-f.:/\\\\]{0,40}(:[0-9]{0,6})?") {
        let _ = Key::parse(&text, &place());
    }
}
