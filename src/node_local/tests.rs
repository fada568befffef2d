//! node-cache's Corefile, from the flags that its manifest gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use super::*;
use crate::cli::{Cli, Command};
use bowline_agent::node_local::Template;
use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::snapshot::Snapshot;
use bowline_dns::feed::Feed;
use clap::Parser;

/// The flags after `bowline node --state files:x`, as node-cache writes them.
fn args(flags: &str) -> NodeLocalArgs {
    let words = "bowline node --state files:x ".to_owned() + flags;
    let words = crate::dns::with_two_dashes(words.split_whitespace().map(Into::into));
    match Cli::try_parse_from(words).unwrap().command {
        Command::Node(args) => args.node_local,
        other => panic!("{other:?}"),
    }
}

const MANIFEST: &str = "-localip 169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc node-cache-test-upstream";

#[test]
fn the_flags_of_node_caches_manifest_are_taken() {
    let args = args(&format!("{MANIFEST} -setupiptables=false -skipteardown -syncinterval 60 -health-port 8080"));
    assert_eq!(args.conf(), Some("/etc/Corefile".into()));
    assert_eq!((args.setupinterface, args.skipteardown), (true, true));
    let stand_in = args.config().unwrap().stand_in();
    assert_eq!(stand_in.service.to_string(), "kube-system/kube-dns");
    assert_eq!(stand_in.at, ["169.254.20.10:53".parse().unwrap()]);
}

#[test]
fn both_families_have_a_stand_in_and_odd_names_are_refused() {
    let both = args("--dns x -localip fd00::a,169.254.20.10,fd00::b --dns.port 5353 -setupinterface=false");
    let at = ["169.254.20.10:5353".parse().unwrap(), "[fd00::a]:5353".parse().unwrap()];
    assert_eq!((both.config().unwrap().stand_in().at, both.setupinterface), (at.into(), false));
    assert!(args("").conf().is_none());
    for wrong in
        ["--interfacename=much-too-long-for-it", "--interfacename=a/b", "--dns-service=kube-dns", "--localip=x"]
    {
        assert!(Cli::try_parse_from(["bowline", "node", "--state", "files:x", wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn placeholders_wait_for_the_state_and_are_filled_from_it() {
    let feed = Arc::new(Feed::default());
    let template = Template::new(&args(MANIFEST).config().unwrap(), feed.clone());
    let text = "cluster.local:53 {\n bind __PILLAR__LOCAL__DNS__\n forward . __PILLAR__CLUSTER__DNS__\n}\n";
    assert!(template.must_wait(text) && !template.must_wait(".:53 {\n whoami\n}\n"));
    assert!(template.fill(text, "Corefile").unwrap_err().to_string().starts_with("Corefile:3"));
    assert!(template.fill_for_a_look(text, "Corefile").is_ok());
    feed.come(&Told::whole(&Snapshot::default()));
    assert!(!template.must_wait(text), "what the state doesn't have is a mistake");
    assert!(template.fill(text, "Corefile").is_err());
    assert_eq!(template.fill(".\n", "Corefile").unwrap(), ".\n", "what is no template stays as it is");
}

#[test]
fn stub_domains_of_kube_dns_become_blocks() {
    let folder = std::env::temp_dir().join(format!("bowline-kubednscm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stubDomains"), "{\"acme.local\": [\"1.2.3.4\"]}").unwrap();
    let args = args(&format!("--dns x --kubednscm {}", folder.display()));
    let template = Template::new(&args.config().unwrap(), Arc::default());
    let filled = template.fill(". {\n whoami\n}\n", "Corefile");
    std::fs::write(folder.join("stubDomains"), "no JSON").unwrap();
    let refused = template.fill(". {\n whoami\n}\n", "Corefile").map_err(|problem| problem.to_string());
    std::fs::remove_dir_all(&folder).unwrap();
    let filled = filled.unwrap();
    assert!(filled.contains("acme.local:53 {") && filled.contains("bind 169.254.20.10"), "{filled}");
    assert!(refused.unwrap_err().contains("stubDomains"));
}

#[test]
fn a_reload_that_needs_pods_that_are_not_read_says_what_to_do() {
    use bowline_agent::node_local::NodeLocal;
    use bowline_sources::kubernetes::Wanted;
    use bowline_sources::state_ref::StateRef;

    let folder = std::env::temp_dir().join(format!("bowline-reload-pods-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let conf = folder.join("Corefile");
    std::fs::write(&conf, ".:53 {\n kubernetes cluster.local\n}\n").unwrap();
    let text = ".:53 {\n kubernetes cluster.local {\n  pods verified\n }\n}\n";
    let next = bowline_dns::corefile::parse(text, "Corefile", std::path::Path::new(""), &|_| None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let said = |state: &str| {
        let dns = NodeLocal::new(args(&format!("--dns {}", conf.display())).config().unwrap());
        dns.widen(&state.parse::<StateRef>().unwrap(), &mut Wanted::of_node("a")).unwrap();
        runtime.block_on(dns.ahead()(&next)).err().map(|refused| refused.to_string()).unwrap_or_default()
    };
    let refused = said("kubernetes:kubeconfig");
    assert!(
        refused.starts_with("Corefile:3: pods: needs all Pods") && refused.ends_with("start it again"),
        "{refused}"
    );
    assert_eq!(said("files:x"), "", "a folder is read whole");
    std::fs::remove_dir_all(&folder).unwrap();
}
