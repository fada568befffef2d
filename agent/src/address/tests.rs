//! What is read as which address.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

#[test]
fn an_address_without_a_port_gets_kube_proxys() {
    for (text, wanted) in [
        ("0.0.0.0", "0.0.0.0:10256"),
        ("127.0.0.1", "127.0.0.1:10256"),
        ("127.000.000.001", "127.0.0.1:10256"),
        ("::", "[::]:10256"),
        ("[::]", "[::]:10256"),
        ("::1", "[::1]:10256"),
        ("[fd00::1]", "[fd00::1]:10256"),
        ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]:10256"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("010.0.0.1:80", "10.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("0.0.0.0:0", "0.0.0.0:0"),
    ] {
        assert_eq!(healthz(text).unwrap(), Bind::At(vec![wanted.parse().unwrap()]), "{text}");
    }
    assert_eq!(metrics("::1"), Ok(Bind::At(vec!["[::1]:10249".parse().unwrap()])));
    assert_eq!(metrics(""), Ok(Bind::Off));
    let every = ["[::]:10256", "0.0.0.0:10256"].map(|text| text.parse().unwrap());
    assert_eq!(metrics(":10256"), Ok(Bind::At(every.to_vec())));
    assert_eq!(metrics("localhost"), Ok(Bind::Named("localhost".into(), 10249)));
    assert_eq!(metrics("node-1.example.org:80"), Ok(Bind::Named("node-1.example.org".into(), 80)));
    assert!(!metrics("localhost:80").unwrap().addresses().unwrap().is_empty());
}

#[test]
fn what_is_none_is_refused() {
    for text in [
        " ",
        ":",
        "0.0.0.0:",
        "0.0.0.0:http",
        "0.0.0.0:65536",
        "0.0.0.0:-1",
        "0.0.0.0:+1",
        "1.2.3",
        "1.2.3.4.5",
        "256.0.0.1",
        "256.0.0.1:80",
        "[::1",
        "::1]:80",
        "[::1]80",
        "[1.2.3.4]:80",
        "1:2:3:80",
        "a b",
        "-a",
        "a..b:1",
        "http://0.0.0.0:80",
        "224.0.0.1",
        "[ff02::1]:80",
        "255.255.255.255:80",
        "0.0.0.0:80:90",
        "[]:80",
    ] {
        assert!(healthz(text).is_err(), "{text:?} is {:?}", healthz(text));
    }
    let error = Bind::Named("no-such-name.invalid".into(), 1).addresses().unwrap_err().to_string();
    assert!(error.contains("no-such-name.invalid") && error.contains("write an IP address"), "{error}");
}

#[test]
fn which_addresses_exclude_each_other() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (one, other, wanted) in [
        ("0.0.0.0:80", "0.0.0.0:80", true),
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("[::]:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "[::]:80", true),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("0.0.0.0:80", "[::1]:80", false),
        ("0.0.0.0:80", "0.0.0.0:81", false),
        ("0.0.0.0:0", "0.0.0.0:0", false),
    ] {
        assert_eq!(collide(&at(one), &at(other)), wanted, "{one} {other}");
    }
}
