//! Addresses by another plugin: the real host-local, and small ones that misbehave.

use std::fs;
use std::path::Path;

use bowline_cni_protocol::{CniError, Reply};
use serde_json::{Value, json};

use crate::agent::{Agent, a_result};
use crate::runtime::{Call, Namespace, conf, with};

/// With host-local, of a range of few addresses, which keeps its files below a folder.
fn host_local(conf: Value, folder: &Path) -> Value {
    let ipam = json!({"type": "host-local", "dataDir": folder, "ranges": [[{"subnet": "10.9.0.0/30"}]]});
    with(conf, "ipam", ipam)
}

/// The addresses that host-local holds.
fn held(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join("net")).into_iter().flatten();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("10.9.")).collect()
}

#[test]
fn host_locals_addresses_come_to_the_agent_and_go_with_the_container() {
    let (agent, netns, data) = (Agent::that_adds(a_result()), Namespace::new(), tempfile::tempdir().unwrap());
    for version in ["0.2.0", "0.4.0", "1.0.0"] {
        let conf = host_local(conf(version, &agent), data.path());
        Call::new("ADD", &conf, &netns.path()).run().result();
        let given = agent.asked_once().0.ipam.unwrap();
        assert_eq!(given.ips.iter().map(|ip| ip.address.to_string()).collect::<Vec<_>>(), ["10.9.0.2/30"]);
        assert_eq!(held(data.path()), ["10.9.0.2"]);
        if version != "0.2.0" {
            Call::new("CHECK", &with(conf.clone(), "cniVersion", "0.4.0"), &netns.path()).run().nothing();
            agent.asked_once();
        }
        for _ in 0..2 {
            Call::new("DEL", &conf, &netns.path()).run().nothing();
            agent.asked_once();
            assert_eq!(held(data.path()), [""; 0]);
        }
        // host-local goes on from the last address it gave, which this forgets.
        fs::remove_dir_all(data.path().join("net")).unwrap();
    }
}

#[test]
fn what_the_agent_refuses_is_given_back() {
    let (netns, data) = (Namespace::new(), tempfile::tempdir().unwrap());
    let agent = Agent::start(|_| Some(Reply::Failed(CniError::new(CniError::FAILED, "no"))));
    let refused = host_local(conf("1.0.0", &agent), data.path());
    assert_eq!(Call::new("ADD", &refused, &netns.path()).run().refusal(), (102, "no".to_owned()));
    assert!(agent.asked_once().0.ipam.is_some(), "there was an address");
    assert_eq!(held(data.path()), [""; 0]);
    // And with no agent at all.
    let absent = with(refused, "socket", "/nowhere/cni.sock");
    assert_eq!(Call::new("ADD", &absent, &netns.path()).run().refusal().0, 11);
    assert_eq!(held(data.path()), [""; 0]);
}

#[test]
fn without_an_agent_del_gives_back_and_is_remembered() {
    let (agent, netns, data) = (Agent::that_adds(a_result()), Namespace::new(), tempfile::tempdir().unwrap());
    let conf = host_local(conf("1.0.0", &agent), data.path());
    Call::new("ADD", &conf, &netns.path()).run().result();
    assert_eq!(held(data.path()), ["10.9.0.2"]);
    Call::new("DEL", &with(conf, "socket", "/nowhere/cni.sock"), &netns.path()).run().nothing();
    assert_eq!(held(data.path()), [""; 0]);
    assert_eq!(fs::read_dir(agent.tombstones()).unwrap().count(), 1);
}

#[test]
fn its_own_refusal_comes_to_the_runtime_and_not_to_the_agent() {
    let (agent, netns, data) = (Agent::that_adds(a_result()), Namespace::new(), tempfile::tempdir().unwrap());
    let conf = host_local(conf("1.0.0", &agent), data.path());
    Call::new("ADD", &conf, &netns.path()).run().result();
    agent.asked_once();
    let (_, message) = Call::new("ADD", &conf, &netns.path()).set("CNI_CONTAINERID", "two").run().refusal();
    assert!(message.starts_with("IPAM plugin host-local: failed to allocate for range"), "{message}");
    assert_eq!(agent.asked(), []);
    assert_eq!(held(data.path()), ["10.9.0.2"], "that of the first");
}

#[test]
fn one_that_is_not_there_is_told() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let conf = |kind: &str| with(conf("1.0.0", &agent), "ipam", json!({"type": kind}));
    let call = |kind: &str| Call::new("ADD", &conf(kind), &netns.path());
    let absent = call("none-such").set("CNI_PATH", "/a:/b").run().error();
    assert_eq!(absent["code"], 101);
    assert_eq!(absent["msg"], "there is no IPAM plugin none-such in /a, /b (CNI_PATH)");
    let message = "CNI_PATH is missing: it is needed to find the IPAM plugin host-local";
    assert_eq!(call("host-local").unset("CNI_PATH").run().refusal(), (4, message.to_owned()));
    for name in ["../host-local", ".", "..", "a/b"] {
        let message = format!("configuration: ipam.type: {name:?} is not the name of a plugin");
        assert_eq!(call(name).run().refusal(), (7, message));
    }
    assert_eq!(agent.asked(), []);
    // Our own needs no plugin.
    call("bowline").unset("CNI_PATH").run().result();
    assert_eq!(agent.asked_once().0.ipam, None);
}

/// With the plugin of `bin/`, and a configuration that is more than a pipe holds.
fn shell_conf(agent: &Agent) -> Value {
    let conf = with(conf("1.1.0", agent), "ipam", json!({"type": "shell-ipam"}));
    with(conf, "args", "x".repeat(200_000))
}

fn by_shell(call: Call, calls: &Path, does: &str) -> Call {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/bin");
    call.set("CNI_PATH", folder).set("PATH", "/usr/bin:/bin").set("CALLS", calls.to_str().unwrap()).set("DOES", does)
}

#[test]
fn ones_that_misbehave_are_told() {
    let (agent, netns, folder) = (Agent::that_adds(a_result()), Namespace::new(), tempfile::tempdir().unwrap());
    let table = [
        ("echo no JSON", 101, "answered no JSON: expected"),
        ("echo '{\"ips\":[{}]}'", 101, "answered: result: ips[0].address: is missing"),
        ("exit 3", 101, "failed and did not say why"),
        ("echo '{\"code\":0,\"msg\":\"x\"}'; exit 1", 101, "failed and did not say why"),
        ("echo '{\"code\":77,\"msg\":\"all are given\",\"details\":\"d\"}'; exit 1", 77, "all are given"),
        // It reads none of a configuration that is more than a pipe holds.
        ("exec <&-; echo '{}'", 0, ""),
        ("exec yes", 101, "failed and did not say why"),
    ];
    for (number, (does, code, what)) in table.into_iter().enumerate() {
        let calls = folder.path().join(number.to_string());
        let call = by_shell(Call::new("ADD", &shell_conf(&agent), &netns.path()), &calls, does);
        let outcome = call.run();
        let calls = fs::read_to_string(calls).unwrap();
        if code == 0 {
            outcome.result();
            assert_eq!(calls, "ADD\n");
            agent.asked_once();
        } else {
            let (got, message) = outcome.refusal();
            assert_eq!(got, code, "{message}");
            assert!(message.contains(what), "{message}");
            assert_eq!(calls, "ADD\nDEL\n", "what it has given out is given back");
            assert_eq!(agent.asked(), []);
        }
    }
}

#[test]
fn status_and_gc_are_asked_of_both() {
    let (netns, folder) = (Namespace::new(), tempfile::tempdir().unwrap());
    let calls = folder.path().join("calls");
    let does = r#"echo '{"code":50,"msg":"full"}'; exit 1"#;
    let refuse = || Agent::start(|_| Some(Reply::Failed(CniError::new(CniError::LIMITED, "no"))));
    let agents = [(Agent::that_adds(a_result()), (50, "IPAM plugin shell-ipam: full")), (refuse(), (51, "no"))];
    for (agent, (code, message)) in agents {
        for command in ["GC", "STATUS"] {
            let call = by_shell(Call::new(command, &shell_conf(&agent), &netns.path()), &calls, does);
            assert_eq!(call.run().refusal(), (code, message.to_owned()));
            agent.asked_once();
        }
    }
    assert_eq!(fs::read_to_string(calls).unwrap(), "GC\nSTATUS\nGC\nSTATUS\n");
}
