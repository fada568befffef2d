//! `bind`: addresses, interfaces and exceptions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use crate::plugins::testing::{build, refused, services};

fn hosts(text: &str) -> Vec<String> {
    let text = format!("example.org {{\n {text}\n whoami\n}}\n");
    let instance = build(&text, Path::new(""), &services()).unwrap();
    instance.servers().keys().map(ToString::to_string).collect()
}

#[test]
fn addresses_add_up() {
    assert_eq!(hosts("bind 1.2.3.4"), ["dns://1.2.3.4:53"]);
    assert_eq!(hosts("bind 127.0.0.1 ::1"), ["dns://127.0.0.1:53", "dns://[::1]:53"]);
    assert_eq!(hosts("bind 127.0.0.1\n bind ::1 127.0.0.1"), ["dns://127.0.0.1:53", "dns://[::1]:53"]);
    assert_eq!(hosts("bind fe80::1%eth0"), ["dns://[fe80::1]:53"]);
}

#[test]
fn an_interface_is_all_of_its_addresses_but_the_exceptions() {
    assert!(hosts("bind lo").contains(&"dns://127.0.0.1:53".to_owned()));
    let left = hosts("bind lo 10.1.2.3 {\n except 127.0.0.1\n}");
    assert!(left.contains(&"dns://10.1.2.3:53".to_owned()) && !left.contains(&"dns://127.0.0.1:53".to_owned()));
    assert_eq!(hosts("bind lo 10.1.2.3 {\n except lo\n}"), ["dns://10.1.2.3:53"]);
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("bind", "takes at least 1 argument"),
        ("bind foo", "foo is neither an IP address nor an interface"),
        ("bind 127.0.0.1 {\n except\n}", "Corefile:3: except: takes at least 1 argument"),
        ("bind 127.0.0.1 {\n excep ::1\n}", "did you mean except?"),
        ("bind lo {\n except lo\n}", "leaves no address to listen at"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}
