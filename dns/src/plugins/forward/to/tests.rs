//! Whom arguments name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

fn read_plain(text: &str) -> Result<Vec<To>, String> {
    read(text, |path| path.into(), |host| Err(format!("{host} is not looked up here")))
}

#[test]
fn addresses_in_all_their_forms() {
    for (text, address, is_tls, name) in [
        ("10.0.0.1", "10.0.0.1:53", false, None),
        ("10.0.0.1:1053", "10.0.0.1:1053", false, None),
        ("dns://10.0.0.1", "10.0.0.1:53", false, None),
        ("2003::1", "[2003::1]:53", false, None),
        ("[2003::1]", "[2003::1]:53", false, None),
        ("[2003::1]:53", "[2003::1]:53", false, None),
        ("tls://9.9.9.9", "9.9.9.9:853", true, None),
        ("tls://9.9.9.9%dns.quad9.net", "9.9.9.9:853", true, Some("dns.quad9.net")),
        ("tls://9.9.9.9%dns.quad9.net:10853", "9.9.9.9:10853", true, Some("dns.quad9.net")),
        ("tls://[2620:fe::9%dns.quad9.net]:10853", "[2620:fe::9]:10853", true, Some("dns.quad9.net")),
        ("tls://2620:fe::9%dns.quad9.net", "[2620:fe::9]:853", true, Some("dns.quad9.net")),
        ("dns://10.0.0.1%name", "10.0.0.1:53", false, None),
    ] {
        let expected = To { address: address.parse().unwrap(), is_tls, server_name: name.map(str::to_owned) };
        assert_eq!(read_plain(text).unwrap(), [expected], "{text}");
    }
}

#[test]
fn what_names_nobody_says_why() {
    for (text, reason) in [
        ("https://9.9.9.9", "DNS over HTTPS"),
        ("grpc://10.0.0.1", "grpc:// is not spoken"),
        ("ftp://10.0.0.1", "no known scheme"),
        ("10.0.0.1:99999", "is no IP address"),
        ("10.0.0", "is no IP address"),
        ("[2003::1", "is no IP address"),
        ("[2003::1]x", "is no IP address"),
        ("/no/such/file", "/no/such/file: No such file"),
        ("", "is no IP address"),
        ("a..b", "is no IP address"),
        ("dns.test:x", "is no IP address"),
        ("dns.test", "dns.test: dns.test is not looked up here"),
    ] {
        let error = read_plain(text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_host_is_all_its_addresses() {
    for (text, host, port, name) in [
        ("dns.test", "dns.test", 53, None),
        ("dns.test.:1053", "dns.test.", 1053, None),
        ("tls://dns.test%proof.test:10853", "dns.test", 10853, Some("proof.test")),
    ] {
        let lookup = |asked: &str| {
            assert_eq!(asked, host);
            Ok(vec!["10.0.0.1".parse().unwrap(), "2003::1".parse().unwrap()])
        };
        let found = read(text, |path| path.into(), lookup).unwrap();
        let addresses: Vec<_> = found.iter().map(|to| to.address.to_string()).collect();
        assert_eq!(addresses, [format!("10.0.0.1:{port}"), format!("[2003::1]:{port}")], "{text}");
        assert!(found.iter().all(|to| to.server_name.as_deref() == name), "{text}");
    }
}

#[test]
fn the_servers_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let text = "# nameserver 1.1.1.1\nsearch a b\n nameserver\t10.0.0.1 # the first\nnameserver fe80::1%eth0\n\
                nameserver\nnameserver x\nnameserversX 10.0.0.9\noptions ndots:5\n";
    std::fs::write(&file, text).unwrap();
    let found = read_plain(file.to_str().unwrap()).unwrap();
    let addresses: Vec<_> = found.iter().map(|to| to.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:53", "[fe80::1]:53"]);
    std::fs::write(&file, "search a\n").unwrap();
    assert_eq!(read_plain(file.to_str().unwrap()).unwrap(), []);
    assert!(read_plain(&format!("tls://{}", file.display())).unwrap_err().contains("in the clear"));
}
