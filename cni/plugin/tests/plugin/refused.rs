//! What the plugin refuses by itself, before it talks to anybody.

use serde_json::{Value, json};

use crate::agent::{Agent, a_result};
use crate::runtime::{Call, Namespace, conf, with};

#[test]
fn variables_that_are_missing_or_wrong_are_all_named() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let conf = conf("1.0.0", &agent);
    let all = Call::empty().set("CNI_COMMAND", "ADD").input(conf.to_string()).run();
    let missing = "CNI_CONTAINERID is missing; CNI_IFNAME is missing; CNI_NETNS is missing";
    assert_eq!(all.error(), json!({"cniVersion": "1.0.0", "code": 4, "msg": missing}));
    let variables = [
        ("CNI_COMMAND", "MOVE"),
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_NETNS", ""),
        ("CNI_ARGS", "nonsense"),
    ];
    for (name, value) in variables {
        let (code, message) = Call::new("ADD", &conf, &netns.path()).set(name, value).run().refusal();
        assert_eq!(code, 4, "{name}={value}");
        assert!(message.starts_with(name), "{message}");
    }
    assert_eq!(agent.asked(), []);
}

#[test]
fn input_that_is_no_configuration_is_told() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let good = conf("1.0.0", &agent);
    let refusal = |input: &[u8]| Call::new("ADD", &good, &netns.path()).input(input).run().refusal();
    let deep = "[".repeat(100_000);
    for input in [&b""[..], b"{", b"{\"name\":\xff}", b"no", deep.as_bytes()] {
        let (code, message) = refusal(input);
        assert_eq!(code, 6);
        assert!(message.starts_with("the configuration on standard input is not JSON: "), "{message}");
    }
    let long = with(good.clone(), "args", "x".repeat(1 << 20));
    let told = "the configuration on standard input is longer than 1048576 bytes";
    assert_eq!(refusal(long.to_string().as_bytes()), (6, told.to_owned()));
    // Together with the variables it must go into one message.
    let nearly = with(good.clone(), "args", "x".repeat((1 << 20) - good.to_string().len() - 20));
    let (code, message) = refusal(nearly.to_string().as_bytes());
    assert_eq!(code, 7);
    assert!(message.starts_with("the request is too long for the agent"), "{message}");

    let table: [(Value, u64, &str); 4] = [
        (with(good.clone(), "cniVersion", "1.2.0"), 1, "configuration: cniVersion \"1.2.0\" is not supported"),
        (with(good.clone(), "name", "a b"), 7, "configuration: name: \"a b\" is not"),
        (with(good.clone(), "mtu", 1), 7, "configuration: mtu: 1 is not an MTU (68 to 65535)"),
        (json!([]), 7, "configuration: a list is not an object"),
    ];
    for (conf, code, begin) in table {
        let (got, message) = refusal(conf.to_string().as_bytes());
        assert_eq!(got, code, "{message}");
        assert!(message.starts_with(begin), "{message}");
    }
    assert_eq!(agent.asked(), []);
}

#[test]
fn commands_that_a_version_does_not_have_are_refused() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    for (command, before, since) in
        [("CHECK", "0.3.1", "0.4.0"), ("GC", "1.0.0", "1.1.0"), ("STATUS", "1.0.0", "1.1.0")]
    {
        let error = Call::new(command, &conf(before, &agent), &netns.path()).run().error();
        let message =
            format!("{command} is not part of CNI {before}, the configuration's cniVersion: it came with {since}");
        assert_eq!(error, json!({"cniVersion": before, "code": 1, "msg": message}));
        assert_eq!(agent.asked(), []);
        Call::new(command, &conf(since, &agent), &netns.path()).run().nothing();
        agent.asked_once();
    }
}

#[test]
fn a_namespace_must_be_there_and_be_a_containers() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let conf = conf("1.0.0", &agent);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for command in ["ADD", "CHECK"] {
        let table = [
            ("/nowhere", 3, "the network namespace /nowhere (CNI_NETNS) is gone"),
            ("/etc/passwd", 8, "/etc/passwd (CNI_NETNS) is not a network namespace"),
            (pipe.to_str().unwrap(), 8, &format!("{} (CNI_NETNS) is not a network namespace", pipe.display())),
            (
                "/proc/self/ns/net",
                8,
                "/proc/self/ns/net (CNI_NETNS) is the network namespace of the node itself, not of a container",
            ),
        ];
        for (path, code, message) in table {
            let refusal = Call::new(command, &conf, &netns.path()).set("CNI_NETNS", path).run().refusal();
            assert_eq!(refusal, (code, message.to_owned()));
        }
    }
    assert_eq!(agent.asked(), []);
    let own = Call::new("ADD", &conf, &netns.path()).set("CNI_NETNS", "/proc/self/ns/net");
    own.set("CNI_NETNS_OVERRIDE", "true").run().result();
    assert!(agent.asked_once().1.is_some());
}
