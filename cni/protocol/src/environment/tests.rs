//! Variables that a runtime may give, and those that it may not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::*;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn read(variables: Variables<'_>) -> Result<Option<Environment>, CniError> {
    Environment::read(|name| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| OsString::from(*value)))
}

#[test]
fn a_call_of_containerd_is_read_whole() {
    let read = read(&[
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "2f-a_b.c"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/one"),
        ("CNI_ARGS", "K8S_POD_NAME=web-1;IgnoreUnknown=1;K8S_POD_UID=;A=b=c;"),
        ("CNI_PATH", "/opt/cni/bin::/usr/lib/cni"),
        ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]);
    let read = read.unwrap().unwrap();
    assert_eq!(read.command, Command::Add);
    assert_eq!((&*read.container_id, &*read.ifname), ("2f-a_b.c", "eth0"));
    assert_eq!(read.netns.as_deref(), Some("/run/netns/one"));
    let args = [("A", "b=c"), ("IgnoreUnknown", "1"), ("K8S_POD_NAME", "web-1"), ("K8S_POD_UID", "")];
    assert_eq!(read.args.iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>(), args);
    assert_eq!(read.path, ["/opt/cni/bin", "/usr/lib/cni"]);
    assert_eq!(read.traceparent.as_deref(), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}

#[test]
fn each_command_needs_its_variables_and_all_that_miss_are_named() {
    const ID: (&str, &str) = ("CNI_CONTAINERID", "one");
    const NAME: (&str, &str) = ("CNI_IFNAME", "eth0");
    let all = "CNI_CONTAINERID is missing; CNI_IFNAME is missing; CNI_NETNS is missing";
    let table: &[(&str, Variables<'_>, &str)] = &[
        ("ADD", &[], all),
        ("CHECK", &[], all),
        ("ADD", &[ID, NAME], "CNI_NETNS is missing"),
        ("ADD", &[ID, NAME, ("CNI_NETNS", "")], "CNI_NETNS is missing"),
        ("DEL", &[], "CNI_CONTAINERID is missing; CNI_IFNAME is missing"),
        ("DEL", &[ID, NAME], ""),
        ("DEL", &[ID, NAME, ("CNI_ARGS", "nonsense")], ""),
        ("GC", &[], ""),
        ("STATUS", &[], ""),
        ("VERSION", &[], ""),
    ];
    for (command, variables, wrong) in table {
        let variables = [&[("CNI_COMMAND", *command)], *variables].concat();
        let got = read(&variables).map(drop);
        let want = if wrong.is_empty() { Ok(()) } else { Err(CniError::new(CniError::INVALID_ENVIRONMENT, *wrong)) };
        assert_eq!(got, want, "{variables:?}");
    }
}

#[test]
fn wrong_values_are_told_with_the_rule() {
    let good =
        [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "one"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/run/netns/one")];
    let long = "a".repeat(201);
    let table = [
        ("CNI_CONTAINERID", "-one"),
        ("CNI_CONTAINERID", "../one"),
        ("CNI_CONTAINERID", "one two"),
        ("CNI_CONTAINERID", "\u{e9}"),
        ("CNI_CONTAINERID", &*long),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a\tb"),
        ("CNI_IFNAME", "a\u{a0}b"),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_ARGS", "IgnoreUnknown"),
        ("CNI_COMMAND", "add"),
    ];
    for (name, value) in table {
        let mut variables = vec![(name, value)];
        variables.extend(good);
        let error = read(&variables).unwrap_err();
        assert_eq!(error.code, CniError::INVALID_ENVIRONMENT, "{name}={value}");
        assert!(
            error.msg.starts_with(&format!("{name} \"")) && !error.msg.contains("; "),
            "{name}={value}: {}",
            error.msg
        );
    }
    let fifteen = [("CNI_IFNAME", "fifteen-letters")];
    assert!(read(&[&fifteen, &good[..]].concat()).is_ok());
}

#[test]
fn what_is_not_utf_8_is_told() {
    let error = Environment::read(|name| match name {
        "CNI_COMMAND" => Some("DEL".into()),
        "CNI_CONTAINERID" => Some(OsString::from_vec(vec![0xff])),
        _ => None,
    });
    assert_eq!(error.unwrap_err().msg, "CNI_CONTAINERID is not UTF-8; CNI_IFNAME is missing");
}

#[test]
fn without_a_command_nobody_has_called() {
    assert_eq!(read(&[("CNI_CONTAINERID", "one")]), Ok(None));
    assert_eq!(read(&[("CNI_COMMAND", "")]), Ok(None));
}

#[test]
fn a_traceparent_that_is_none_is_left_out() {
    let long = "0".repeat(257);
    for (given, want) in [("00-a-b-01", Some("00-a-b-01")), ("a\nb", None), ("", None), (&long, None)] {
        let read = read(&[("CNI_COMMAND", "STATUS"), ("TRACEPARENT", given)]).unwrap().unwrap();
        assert_eq!(read.traceparent.as_deref(), want);
    }
}
