//! The plugin called as `loopback`, beside the reference plugin.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bowline_cni_protocol::CniResult;
use serde_json::{Value, json};

use crate::runtime::{Call, Namespace, with};

/// As containerd has it.
fn conf(version: &str) -> Value {
    json!({"cniVersion": version, "name": "cni-loopback", "type": "loopback"})
}

struct Ours(tempfile::TempDir);

impl Ours {
    fn new() -> Ours {
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_bowline-cni"), folder.path().join("loopback")).unwrap();
        Ours(folder)
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("loopback")
    }

    fn call(&self, command: &str, conf: &Value, netns: &Path) -> Call {
        let call = Call::new(command, conf, netns).set("CNI_IFNAME", "lo").program(self.program());
        call.set("CNI_NETNS", netns.to_str().unwrap())
    }
}

/// Where distributions have the reference plugins.
fn reference() -> PathBuf {
    let places = ["/usr/lib/cni/loopback", "/opt/cni/bin/loopback"];
    places.iter().map(PathBuf::from).find(|place| place.exists()).expect("the reference plugins are installed")
}

fn is_up(netns: &Namespace) -> bool {
    netns.output(&["ip", "-o", "link", "show", "lo"]).contains(",UP")
}

#[test]
fn lo_is_set_up_and_answered_as_by_the_reference() {
    let ours = Ours::new();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let (one, other) = (Namespace::new(), Namespace::new());
        assert!(!is_up(&one));
        let mut got = ours.call("ADD", &conf(version), &one.path()).run().result();
        assert!(is_up(&one));
        let addresses = one.output(&["ip", "-o", "address", "show", "lo"]);
        assert!(addresses.contains("127.0.0.1/8") && addresses.contains("::1/128"), "{addresses}");
        let reference = ours.call("ADD", &conf(version), &other.path()).program(reference()).run().result();
        assert_eq!(got["interfaces"][0]["sandbox"], one.path().to_str().unwrap());
        got["interfaces"][0]["sandbox"] = other.path().to_str().unwrap().into();
        // It prints the shape of 1.0.0 under any version (containernetworking-plugins 1.1.1); ours is the version's.
        let read = |json| CniResult::from_json(json, "").unwrap();
        assert_eq!(read(&got), read(&reference));
        assert!(version != "1.0.0" || got == reference);
    }
}

#[test]
fn it_is_checked_and_stays_up_to_the_end() {
    let (ours, netns) = (Ours::new(), Namespace::new());
    let conf = conf("1.1.0");
    let call = |command: &str| ours.call(command, &conf, &netns.path());
    assert_eq!(call("CHECK").run().refusal(), (100, "lo is down".to_owned()));
    for _ in 0..2 {
        call("ADD").run().result();
    }
    call("CHECK").run().nothing();
    call("DEL").run().nothing();
    assert!(is_up(&netns));
    netns.output(&["ip", "address", "del", "127.0.0.1/8", "dev", "lo"]);
    assert_eq!(call("CHECK").run().refusal(), (100, "lo has no address 127.0.0.1".to_owned()));
    for command in ["GC", "STATUS"] {
        call(command).run().nothing();
    }
}

#[test]
fn a_family_that_is_off_has_no_address() {
    let (ours, netns) = (Ours::new(), Namespace::new());
    netns.output(&["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=1"]);
    let result = ours.call("ADD", &conf("1.0.0"), &netns.path()).run().result();
    assert_eq!(result["ips"], json!([{"address": "127.0.0.1/8", "interface": 0}]));
}

#[test]
fn a_result_before_it_is_passed_on() {
    let (ours, netns) = (Ours::new(), Namespace::new());
    let before = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.9/32"}], "dns": {"domain": "a.b"}});
    let conf = with(conf("1.0.0"), "prevResult", before.clone());
    assert_eq!(ours.call("ADD", &conf, &netns.path()).run().result(), before);
    assert!(is_up(&netns));
}

#[test]
fn a_namespace_that_is_gone_is_no_fault_of_del() {
    let ours = Ours::new();
    let call = |command: &str| ours.call(command, &conf("0.4.0"), Path::new("/nowhere")).run();
    call("DEL").nothing();
    assert_eq!(call("ADD").refusal().0, 3);
    assert_eq!(call("CHECK").refusal().0, 3);
    let own = ours.call("ADD", &conf("0.4.0"), Path::new("/proc/self/ns/net")).run();
    assert_eq!(own.refusal().0, 8);
}
