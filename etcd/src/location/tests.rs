//! Strings of `--state etcd:…`, good ones and refused ones.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use super::*;

fn parse(text: &str) -> Location {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<Location>().unwrap_err().to_string()
}

#[test]
fn what_is_written_is_shown_again() {
    for text in [
        "etcd:http://127.0.0.1:2379",
        "etcd:https://a:2379,https://b.example:12379,https://[fd00::1]:2379",
        "etcd:https://a:2379?prefix=/other/place",
        "etcd:https://a:2379?prefix=/",
        "etcd:https://a:2379?cacert=/etc/ca.pem&cert=/etc/cert.pem&key=/etc/key.pem&user=node&password-file=/etc/pw",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let location = parse("https://a,https://[fd00::1]/");
    assert_eq!(location.endpoints(), ["https://a:2379", "https://[fd00::1]:2379"]);
    assert_eq!(location.keys().prefix(), "/bowline");
    assert_eq!(location.to_string(), "etcd:https://a:2379,https://[fd00::1]:2379");
}

#[test]
fn a_prefix_has_one_form() {
    for prefix in ["a/b", "/a/b", "/a/b/"] {
        assert_eq!(parse(&format!("http://h?prefix={prefix}")).keys().prefix(), "/a/b");
    }
    assert!(refusal("http://h?prefix=/a//b").contains("prefix"));
}

#[test]
fn a_secret_is_refused_and_not_repeated() {
    for text in [
        "https://user:hunter2@a:2379",
        "https://a:2379,https://hunter2@b",
        "https://a:2379?user=u&password=hunter2",
        "https://a:2379?user=u:hunter2",
        "https://a:2379?user=u&password-file=/x&hunter2",
        "https://a:2379?hunter2=1",
    ] {
        let refusal = refusal(text);
        assert!(!refusal.contains("hunter2"), "{refusal}");
        assert!(refusal.contains("password-file="), "says what to write instead: {refusal}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_write() {
    for (text, says) in [
        ("", "has no URL"),
        ("etcd:", "https://HOST:2379"),
        ("https://a:2379,", "has no URL"),
        ("a:2379", "must begin with https:// or http://"),
        ("unix:///run/etcd", "must begin with"),
        ("https://a:2379/v3", "?prefix=/NAME"),
        ("https://:2379", "names no host"),
        ("https://fd00::1", "in [ ]"),
        ("https://a b", "names no host"),
        ("https://a:0", "1 to 65535"),
        ("https://a:http", "1 to 65535"),
        ("https://a?prefix=", "prefix= has no value"),
        ("https://a?cert=/c", "without key="),
        ("https://a?key=/c", "without cert="),
        ("https://a?password-file=/c", "without user="),
        ("https://a?user=x&user=y", "given twice"),
        ("http://a?cacert=/c", "write https://"),
        ("https://a,http://b?cert=/c&key=/k", "http://b:2379 does not use them"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}
