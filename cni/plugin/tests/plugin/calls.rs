//! What comes to the agent, and what a runtime sees of its answer.

use std::process::Stdio;

use bowline_cni_protocol::{CniError, CniResult, Command, Dns, Reply, Version};
use serde_json::{Value, json};

use crate::agent::{Agent, a_result};
use crate::runtime::{Call, Namespace, conf, with};

#[test]
fn add_comes_whole_with_the_namespace_and_is_printed_in_every_version() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    for version in Version::ALL {
        let runtime =
            json!({"portMappings": [{"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}]});
        let conf = with(conf(version.as_str(), &agent), "runtimeConfig", runtime);
        let before = json!({"cniVersion": version.as_str(), "dns": {"domain": "before"}});
        let call = Call::new("ADD", &with(conf, "prevResult", before.clone()), &netns.path());
        let call = call.set("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web-1").set("TRACEPARENT", "00-a-b-01");
        assert_eq!(call.run().result(), a_result().to_version(version));

        let (request, inode) = agent.asked_once();
        assert_eq!(inode, Some(netns.inode()), "the open file is the container's namespace");
        assert_eq!(request.command, Command::Add);
        assert_eq!((&*request.container_id, &*request.ifname), ("one", "eth0"));
        assert_eq!(request.netns.as_deref(), netns.path().to_str());
        assert_eq!(request.args["K8S_POD_NAME"], "web-1");
        assert_eq!(request.traceparent.as_deref(), Some("00-a-b-01"));
        assert_eq!((request.config.cni_version, &*request.config.name), (version, "net"));
        assert_eq!(request.config.runtime_config.port_mappings[0].host_port, 80);
        assert_eq!(request.config.prev_result, Some(before));
        assert_eq!(request.ipam, None);
    }
}

#[test]
fn the_others_come_and_print_nothing() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let conf =
        with(conf("1.1.0", &agent), "cni.dev/valid-attachments", json!([{"containerID": "two", "ifname": "net1"}]));
    for (command, has_container, has_netns) in
        [("DEL", true, false), ("CHECK", true, true), ("GC", false, false), ("STATUS", false, false)]
    {
        Call::new(command, &conf, &netns.path()).run().nothing();
        let (request, inode) = agent.asked_once();
        assert_eq!(request.command.as_str(), command);
        assert_eq!(request.container_id.is_empty(), !has_container);
        assert_eq!(inode.is_some(), has_netns, "{command}");
        let kept = usize::from(command != "DEL");
        assert_eq!(request.config.valid_attachments.len(), kept, "{command}");
    }
}

#[test]
fn del_comes_with_a_namespace_that_is_there_and_without_one_that_is_gone() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let call = Call::new("DEL", &conf("0.4.0", &agent), &netns.path());
    let (path, inode) = (netns.path(), netns.inode());
    call.set("CNI_NETNS", path.to_str().unwrap()).run().nothing();
    assert_eq!(agent.asked_once().1, Some(inode));
    drop(netns);
    for gone in [path.to_str().unwrap(), "/nowhere", "/etc/passwd", "/proc/self/ns/net", ""] {
        Call::new("DEL", &conf("0.4.0", &agent), &path).set("CNI_NETNS", gone).run().nothing();
        assert_eq!(agent.asked_once().1, None, "{gone}");
    }
}

/// What ADD refuses, DEL must not, or the container could never be removed.
#[test]
fn del_takes_a_configuration_that_add_refuses() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let conf = with(conf("1.0.0", &agent), "runtimeConfig", json!({"mac": "none"}));
    assert_eq!(Call::new("ADD", &conf, &netns.path()).run().refusal().0, 7);
    Call::new("DEL", &conf, &netns.path()).run().nothing();
    assert_eq!(agent.asked_once().0.command, Command::Del);
}

#[test]
fn every_error_of_the_agent_comes_to_the_runtime() {
    let netns = Namespace::new();
    let answer = |code: u32| CniError::new(code, format!("message {code}")).with_details("and more");
    for code in [1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 100, 101, 102, 999] {
        let agent = Agent::start(move |_| Some(Reply::Failed(answer(code))));
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let want =
                json!({"cniVersion": "1.1.0", "code": code, "msg": format!("message {code}"), "details": "and more"});
            assert_eq!(Call::new(command, &conf("1.1.0", &agent), &netns.path()).run().error(), want, "{command}");
            assert_eq!(agent.asked_once().0.command.as_str(), command);
        }
        assert!(!agent.tombstones().exists(), "an agent that refuses a DEL is there");
    }
}

#[test]
fn an_add_without_a_result_is_taken_back() {
    let (agent, netns) = (Agent::start(|_| Some(Reply::DONE)), Namespace::new());
    assert_eq!(Call::new("ADD", &conf("1.0.0", &agent), &netns.path()).run().refusal().0, 102);
    assert_eq!(agent.asked().iter().map(|(one, _)| one.command).collect::<Vec<_>>(), [Command::Add, Command::Del]);
}

#[test]
fn version_is_answered_without_an_agent_and_without_input() {
    let all = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    let call = Call::empty().set("CNI_COMMAND", "VERSION");
    let inputs =
        [("", "1.1.0"), ("{", "1.1.0"), (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), (r#"{"cniVersion":"9.0.0"}"#, "1.1.0")];
    let mut call = call;
    for (input, version) in inputs {
        call = call.input(input);
        assert_eq!(call.run().result(), json!({"cniVersion": version, "supportedVersions": all}), "{input}");
    }
}

#[test]
fn started_by_a_person_it_says_what_it_is() {
    let outcome = Call::empty().run();
    assert!(outcome.is_success && outcome.stdout.is_empty(), "{outcome:?}");
    assert!(outcome.stderr.starts_with("bowline-cni ") && outcome.stderr.contains("CNI 0.1.0 to 1.1.0"), "{outcome:?}");
}

#[test]
fn many_at_once_get_each_its_own_answer() {
    let agent = Agent::start(|request| {
        let dns = Dns { domain: request.container_id.clone(), ..Dns::default() };
        Some(Reply::Done { result: Some(CniResult { dns, ..CniResult::default() }) })
    });
    let (netns, agent) = (Namespace::new(), &agent);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let call = Call::new("ADD", &conf("1.1.0", agent), &netns.path());
            let call = call.set("CNI_CONTAINERID", format!("c-{number}"));
            scope.spawn(move || {
                for _ in 0..4 {
                    assert_eq!(call.run().result()["dns"]["domain"], Value::from(format!("c-{number}")));
                }
            });
        }
    });
    assert_eq!(agent.asked().len(), 64);
}

#[test]
fn a_result_that_nobody_takes_is_a_failure() {
    let (agent, netns) = (Agent::that_adds(a_result()), Namespace::new());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowline-cni"));
    command.env_clear().env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", "one").env("CNI_IFNAME", "eth0");
    command.env("CNI_NETNS", netns.path()).stdin(Stdio::piped());
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), conf("1.0.0", &agent).to_string().as_bytes()).unwrap();
    assert!(!child.wait().unwrap().success());
}
