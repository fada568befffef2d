//! What Corefiles name, and what they need.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;

fn corefile(text: &str) -> Corefile {
    bowline_dns::corefile::parse(text, "Corefile", Path::new(""), &|_| None).unwrap()
}

#[test]
fn the_directive_names_the_cluster() {
    let of = |body: &str| wish(&corefile(&format!(". {{\n kubernetes cluster.local {{\n{body}\n}}\n}}\n")));
    assert_eq!(of("").unwrap(), Some(Access::default()));
    let access = of("kubeconfig /etc/kubeconfig admin").unwrap().unwrap();
    assert_eq!((access.kubeconfig, access.context), (Some("/etc/kubeconfig".into()), Some("admin".to_owned())));
    let access = of("endpoint https://10.0.0.1:6443\ntls a b c").unwrap().unwrap();
    assert_eq!((access.apiservers.len(), access.tls), (1, Some(["a".into(), "b".into(), "c".into()])));
    assert!(of("tls a").unwrap_err().to_string().contains("Corefile:3"));
    assert_eq!(wish(&corefile(". {\n whoami\n}\n")).unwrap(), None);
}

#[test]
fn pods_are_read_only_where_a_plugin_needs_them() {
    assert!(needs_pods(&corefile(". {\n kubernetes cluster.local {\n pods insecure\n}\n}\n")).is_none());
    assert_eq!(needs_pods(&corefile(". {\n kubernetes cluster.local {\n pods verified\n}\n}\n")).unwrap().name, "pods");
    assert!(needs_pods(&corefile(". {\n autopath @kubernetes\n kubernetes cluster.local\n}\n")).is_some());
}
