//! The strings that name a state.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use super::*;

fn parse(text: &str) -> State {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn a_name_may_stand_before_each_kind_of_source() {
    let files = parse("files:/a=b");
    assert_eq!((&*files.name, &files.place), (UNNAMED, &Place::Files("/a=b".into())));
    assert_eq!(parse("east=files:x").name, "east");
    assert!(matches!(parse("kubernetes").place, Place::Kubernetes(_)));
    assert!(matches!(parse("west=kubernetes:/etc/kubeconfig?context=c").place, Place::Kubernetes(_)));
    assert!(matches!(parse("kubernetes?apiserver=https://10.0.0.1:6443").place, Place::Kubernetes(_)));
    let etcd = parse("etcd:https://a:2379,https://b:2379?prefix=/x");
    assert!(etcd.name == UNNAMED && matches!(etcd.place, Place::Etcd(_)));
}

#[test]
fn what_is_no_source_is_refused_with_what_to_write() {
    for text in ["", "files:", "files", "folder:x", "etcd?x=y", "Ea st=files:x", "=files:x"] {
        let why = text.parse::<State>().unwrap_err();
        assert!(why.contains("write"), "{text}: {why}");
    }
}

#[test]
fn two_states_of_one_name_are_refused_and_so_are_flags_that_belong_to_none() {
    let args = |states: &[&str], apiserver: &[&str]| StateArgs {
        states: states.iter().map(|text| parse(text)).collect(),
        kubeconfig: None,
        config_sync_period: Duration::from_secs(900),
        service_cluster_ip_range: Vec::new(),
        apiserver: apiserver.first().map(|url| apiservers(url).unwrap()),
    };
    assert!(args(&["files:a", "files:b"], &[]).states().unwrap_err().to_string().contains("NAME=SOURCE"));
    assert!(args(&["files:a"], &["https://x"]).states().unwrap_err().to_string().contains("--apiserver"));
    assert_eq!(args(&["files:a", "b=files:b"], &[]).states().unwrap().len(), 2);
}

#[test]
fn spans_as_kube_proxy_takes_them() {
    for (text, milliseconds) in [
        ("15m", 900_000),
        ("15m0s", 900_000),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        (".5s", 500),
        ("+2s", 2000),
        ("100ms", 100),
    ] {
        assert_eq!(span(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    assert_eq!(span("2us"), span("2\u{b5}s"));
    for text in ["", "0", "0s", "-5s", "5", "m", "1d", "5s ", "1e3s", "NaNs", "infs", "9999999999h", "1..5s"] {
        assert!(span(text).is_err(), "{text}");
    }
}
