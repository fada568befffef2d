//! The command lines of CoreDNS's and node-cache's manifests work as they are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;

fn translated(line: &str) -> String {
    let args = with_two_dashes(line.split(' ').map(OsString::from));
    args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_with_one_dash_are_taken_where_coredns_has_them() {
    assert_eq!(translated("bowline dns -conf /etc/coredns/Corefile"), "bowline dns --conf /etc/coredns/Corefile");
    assert_eq!(translated("bowline dns -dns.port=1053 -p 5"), "bowline dns --dns.port=1053 -p 5");
    assert_eq!(translated("bowline node -localip 169.254.20.10 -v 2"), "bowline node --localip 169.254.20.10 -v 2");
    assert_eq!(translated("bowline get -conf x"), "bowline get -conf x");
}

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
