//! ConfigMaps of kube-dns, and the Corefiles that they become.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::KubeDns;
use crate::corefile::{Corefile, parse};

const MANIFEST: &str = include_str!("../../../tests/corefiles/kube-dns.yaml");

fn read(text: &str) -> Corefile {
    parse(text, "Corefile", Path::new(""), &|_| None).unwrap()
}

fn from_manifest(file: &str, text: &[u8]) -> Result<KubeDns, crate::corefile::SetupError> {
    let read = bowline_sources::parse::document::documents(file, text);
    match read.problems.first() {
        Some(problem) => Err(problem.to_string().into()),
        None => {
            let objects = read.documents.into_iter().map(|one| (one.origin.to_string(), one.value));
            KubeDns::from_objects(file, &objects.collect::<Vec<_>>())
        }
    }
}

#[test]
fn a_config_map_becomes_a_corefile() {
    let asked = from_manifest("kube-dns.yaml", MANIFEST.as_bytes()).unwrap();
    assert_eq!(asked.warnings.len(), 4, "{:?}", asked.warnings);
    assert!(asked.warnings[0].starts_with("federations: cluster-east (east.example.com) is left out"));
    let text = asked.corefile("cluster.local").unwrap();
    for warning in &asked.warnings {
        assert!(text.contains(&format!("\n# {warning}\n")), "{warning}");
    }
    let corefile = read(&text);
    let keys: Vec<&str> = corefile.blocks.iter().map(|block| block.keys[0].text.as_str()).collect();
    assert_eq!(keys, [".:53", "acme.local:53", "corp.example:53"]);
    let forward = |block: usize| {
        let directive = corefile.blocks[block].directives.iter().find(|directive| directive.name == "forward");
        directive.unwrap().args.join(" ")
    };
    assert_eq!(forward(0), ". 8.8.8.8 2001:4860:4860::8888");
    assert_eq!(forward(1), ". 1.2.3.4");
    assert_eq!(forward(2), ". 10.0.0.1:5353 [fd00::1]:53");
    let names: Vec<&str> = corefile.blocks[1].directives.iter().map(|directive| directive.name.as_str()).collect();
    assert_eq!(names, ["errors", "cache", "loop", "forward"]);
}

#[test]
fn an_empty_one_becomes_kubeadms_corefile() {
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kube-dns"}}"#;
    let asked = from_manifest("kube-dns.json", json.as_bytes()).unwrap();
    assert_eq!(asked, KubeDns::default());
    let corefile = read(&asked.corefile("k8s.example").unwrap());
    assert_eq!(corefile.blocks.len(), 1);
    assert_eq!(corefile.blocks[0].directives[3].args, ["k8s.example", "in-addr.arpa", "ip6.arpa"]);
    assert_eq!(corefile.blocks[0].directives[5].args, [".", "/etc/resolv.conf"]);
}

#[test]
fn a_mounted_folder_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(KubeDns::from_folder(&folder.path().join("absent")).unwrap(), KubeDns::default());
    fs::write(folder.path().join("stubDomains"), r#"{"acme.local": ["1.2.3.4"]}"#).unwrap();
    fs::write(folder.path().join("upstreamNameservers"), "").unwrap();
    let asked = KubeDns::from_folder(folder.path()).unwrap();
    assert_eq!(asked.stub_domains["acme.local"], ["1.2.3.4"]);
    fs::write(folder.path().join("stubDomains"), "{").unwrap();
    let told = KubeDns::from_folder(folder.path()).unwrap_err();
    assert!(told.to_string().contains("stubDomains is not JSON: "), "{told}");
}

#[test]
fn federations_are_left_out_as_map_and_as_kube_dnss_flag() {
    for text in
        [r#"{"east": "east.example.com", "west": "west.example.com"}"#, "east=east.example.com, west=west.example.com"]
    {
        let manifest =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: kube-dns}}\ndata:\n  federations: '{text}'\n");
        let asked = from_manifest("kube-dns.yaml", manifest.as_bytes()).unwrap();
        assert_eq!(asked.federations["west"], "west.example.com", "{text}");
        assert_eq!((asked.federations.len(), asked.warnings.len()), (2, 2), "{text}");
    }
}

#[test]
fn keys_that_kube_dns_ignores_are_left_out_with_a_note() {
    let data = "  stubDomains: '{\"acme.local\": [\"1.2.3.4\"]}'\n  upstreamNameservers:\n  federations: 'null'\n  \
                notes: just some text\n  enabled: 'true'\n  list: '[1, 2'\n  number: 7\n  nested: {a: b}\n  \
                stubdomains: '{'\n  Corefile: '. { }'\n  'a {': x\n";
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kube-dns\ndata:\n{data}");
    let asked = from_manifest("kube-dns.yaml", manifest.as_bytes()).unwrap();
    assert_eq!(asked.stub_domains["acme.local"], ["1.2.3.4"]);
    assert!(asked.upstream_nameservers.is_empty() && asked.federations.is_empty());
    for key in ["notes", "enabled", "list", "number", "nested", "stubdomains", "Corefile", "a {"] {
        let note = format!("{key:?} is no key that kube-dns knows");
        assert!(asked.warnings.iter().any(|warning| warning.starts_with(&note)), "{key}: {:?}", asked.warnings);
    }
    assert_eq!(asked.warnings.len(), 8);
    assert_eq!(read(&asked.corefile("cluster.local").unwrap()).blocks.len(), 2);
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    let map = |data: &str| {
        let text = format!("# x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kube-dns\ndata:\n{data}\n");
        from_manifest("kube-dns.yaml", text.as_bytes()).map(|_| ()).unwrap_err()
    };
    for (data, reason) in [
        ("  stubDomains: '[]'", "stubDomains is not a map of domains"),
        ("  stubDomains: '{\"a b\": []}'", "\"a b\" is not a domain name"),
        ("  stubDomains: '{\"a {\": [\"1.2.3.4\"]}'", "is not a domain name"),
        ("  stubDomains: '{\"a\": \"1.2.3.4\"}'", "a: is not a list of addresses"),
        ("  stubDomains: '{\"a\": [\"1.2.3.4 {\"]}'", "is not an address"),
        ("  upstreamNameservers: '[\"1.2.3.4:99999\"]'", "is not an address"),
        ("  upstreamNameservers: '{}'", "is not a list of addresses"),
        ("  federations: '{\"a\": 1}'", "\"a\" has no domain name"),
        ("  federations: east", "\"east\" has no domain name"),
        ("  stubDomains:\n    acme.local: [1.2.3.4]", "data.stubDomains is not a string"),
    ] {
        let told = map(data);
        assert!(told.to_string().starts_with("kube-dns.yaml:") && told.to_string().contains(reason), "{data}: {told}");
    }
    let told = from_manifest("x.yaml", b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n").unwrap_err();
    assert!(told.to_string().contains("x.yaml"), "{told}");
    let asked = KubeDns {
        stub_domains: [("Cluster.local.".to_string(), vec!["1.2.3.4".to_string()])].into(),
        ..KubeDns::default()
    };
    assert!(asked.corefile("cluster.local").unwrap_err().to_string().contains("is the cluster's own domain"));
}

proptest! {
    /// Whatever a ConfigMap holds, its Corefile says nothing else: no value breaks out of its place.
    #[test]
    fn values_stay_in_their_place(domain in "\\PC{1,12}", server in "([0-9.:a-f{}# \\[\\]]{1,20}|\\PC{1,12})", federation in "\\PC{0,12}") {
        let data = serde_json::json!({
            "stubDomains": serde_json::json!({domain.clone(): [server.clone(), "1.2.3.4"]}).to_string(),
            "federations": serde_json::json!({"f": federation}).to_string(),
        });
        let data = data.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_string())).collect();
        if let Ok(asked) = KubeDns::from_data(&data) {
            let corefile = read(&asked.corefile("cluster.local").unwrap());
            prop_assert_eq!(corefile.blocks.len(), 2);
            prop_assert_eq!(corefile.blocks[1].directives.len(), 4);
        }
    }
}
