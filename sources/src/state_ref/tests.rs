//! The strings that name a state.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use super::*;

fn parse(text: &str) -> StateRef {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn a_name_may_stand_before_each_kind_of_source() {
    let files = parse("files:/a=b");
    assert_eq!((&*files.name, &files.kind), (UNNAMED, &StateKind::Files("/a=b".into())));
    assert_eq!(parse("east=files:x").name, "east");
    assert!(matches!(parse("kubernetes").kind, StateKind::Kubernetes(_)));
    assert!(matches!(parse("west=kubernetes:/etc/kubeconfig?context=c").kind, StateKind::Kubernetes(_)));
    assert!(matches!(parse("kubernetes?apiserver=https://10.0.0.1:6443").kind, StateKind::Kubernetes(_)));
    let etcd = parse("etcd:https://a:2379,https://b:2379?prefix=/x");
    assert!(etcd.name == UNNAMED && matches!(etcd.kind, StateKind::Etcd(_)));
}

#[test]
fn what_is_no_source_is_refused_with_what_to_write() {
    for text in ["", "files:", "files", "folder:x", "etcd?x=y", "Ea st=files:x", "=files:x"] {
        let why = text.parse::<StateRef>().unwrap_err().to_string();
        assert!(why.contains("write"), "{text}: {why}");
    }
}
