//! No agent answers: what a runtime is told, and what is remembered.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_cni_protocol::Command;
use bowline_cni_protocol::tombstone::{self, Tombstone};
use bowline_lab::amount;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use serde_json::{Value, json};

use crate::agent::{Agent, a_result, done};
use crate::runtime::{Call, Namespace, conf, with};

const ALL: [(&str, u64); 4] = [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)];

fn conf_at(folder: &Path, socket: &Path) -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bowline-cni", "socket": socket,
        "tombstones": folder.join("tombstones")})
}

fn the_tombstone() -> Tombstone {
    Tombstone { container_id: "one".into(), ifname: "eth0".into(), network: "net".into() }
}

fn tombstones(folder: &Path) -> Vec<Tombstone> {
    tombstone::list(&folder.join("tombstones")).unwrap()
}

/// Nobody at the socket, or nobody behind it.
#[test]
fn without_an_agent_all_fail_but_del_which_is_remembered() {
    let (folder, netns) = (tempfile::tempdir().unwrap(), Namespace::new());
    let folder = folder.path();
    drop(UnixListener::bind(folder.join("refused")).unwrap());
    for (socket, why) in [("absent", "No such file"), ("refused", "Connection refused")] {
        let conf = conf_at(folder, &folder.join(socket));
        for (command, code) in ALL {
            let error = Call::new(command, &conf, &netns.path()).run().error();
            let message = error["msg"].as_str().unwrap();
            let begin = format!("the agent does not answer at {}: {why}", folder.join(socket).display());
            assert!(message.starts_with(&begin), "{message}");
            assert_eq!(error["code"], code, "{command}");
            assert_eq!(error["details"], "is Bowline's agent running on this node, and its start done?");
        }
        assert_eq!(tombstones(folder), [], "an ADD that nobody heard of leaves nothing");
        // Twice, as containerd sends it.
        for _ in 0..2 {
            Call::new("DEL", &conf, &netns.path()).run().nothing();
            assert_eq!(tombstones(folder), [the_tombstone()]);
        }
        assert_eq!(fs::read_dir(folder.join("tombstones")).unwrap().count(), 1);
        tombstone::remove(&folder.join("tombstones"), &the_tombstone()).unwrap();
    }
}

/// An agent that is killed while it works.
#[test]
fn an_agent_that_hangs_up_may_have_done_half() {
    let (agent, netns) = (Agent::start(|_| None), Namespace::new());
    let folder = agent.tombstones();
    let folder = folder.parent().unwrap();
    for (command, code) in ALL {
        let (got, message) = Call::new(command, &conf("1.1.0", &agent), &netns.path()).run().refusal();
        assert!(message.ends_with("the other end has hung up"), "{message}");
        assert_eq!(got, code, "{command}");
    }
    assert_eq!(tombstones(folder), [the_tombstone()], "of the ADD, which may be done or not");
    let commands: Vec<_> = agent.asked().iter().map(|(request, _)| request.command).collect();
    assert_eq!(commands[..2], [Command::Add, Command::Del]);
    tombstone::remove(&agent.tombstones(), &the_tombstone()).unwrap();
    Call::new("DEL", &conf("1.1.0", &agent), &netns.path()).run().nothing();
    assert_eq!(tombstones(folder), [the_tombstone()]);
}

/// One that listens and takes no call: as long as the configuration says, and no longer.
#[test]
fn an_agent_that_is_silent_is_given_up() {
    let (folder, netns) = (tempfile::tempdir().unwrap(), Namespace::new());
    let folder = folder.path();
    let _listener = UnixListener::bind(folder.join("silent")).unwrap();
    let conf = with(conf_at(folder, &folder.join("silent")), "timeout", 1);
    for (command, code) in [("STATUS", 50), ("ADD", 11)] {
        let (got, message) = Call::new(command, &conf, &netns.path()).run().refusal();
        assert!(message.ends_with("no answer in time"), "{message}");
        assert_eq!(got, code, "{command}");
    }
    assert_eq!(tombstones(folder), [the_tombstone()], "the ADD waits in the queue");
}

#[test]
fn a_del_that_can_not_be_remembered_fails() {
    let (folder, netns) = (tempfile::tempdir().unwrap(), Namespace::new());
    let folder = folder.path();
    fs::write(folder.join("tombstones"), "a file").unwrap();
    let (code, message) = Call::new("DEL", &conf_at(folder, &folder.join("absent")), &netns.path()).run().refusal();
    assert_eq!(code, 5);
    assert!(message.starts_with(&format!("DEL can't be remembered in {}/tombstones: ", folder.display())), "{message}");
}

/// Its start came between the call and the tombstone, which it has not seen.
#[test]
fn an_agent_that_comes_in_between_is_asked_again() {
    let is_there = AtomicBool::new(false);
    let answer = move |request: &_| is_there.swap(true, Ordering::Relaxed).then(|| done(request, &a_result()));
    let (agent, netns) = (Agent::start(answer), Namespace::new());
    Call::new("DEL", &conf("1.1.0", &agent), &netns.path()).run().nothing();
    assert_eq!(agent.asked().len(), 2);
    assert_eq!(tombstone::list(&agent.tombstones()).unwrap(), []);
    assert!(agent.tombstones().exists());
}

/// Killed at any moment: a tombstone is whole or not there, and there once the plugin has said so.
#[test]
fn a_plugin_that_is_killed_leaves_whole_tombstones() {
    let (folder, netns) = (tempfile::tempdir().unwrap(), Namespace::new());
    let folder = folder.path();
    let conf = conf_at(folder, &folder.join("absent"));
    let (mut killed, mut ended) = (0, 0);
    for round in 0..amount(5000, 300) {
        let id = format!("c-{round}");
        let mut child = Call::new("DEL", &conf, &netns.path()).set("CNI_CONTAINERID", &*id).start();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        // Some time of its way, which is a millisecond or two: that is what the test is about, not what it waits for.
        std::thread::sleep(Duration::from_micros(round % 60 * 50));
        child.kill().unwrap();
        let is_done = child.wait().unwrap().success();
        *(if is_done { &mut ended } else { &mut killed }) += 1;
        let left = tombstones(folder);
        assert!(left.iter().all(|one| one.network == "net"), "{left:?}");
        assert!(!is_done || left.iter().any(|one| one.container_id == id));
    }
    assert!(killed > 0, "{ended} came to their end");
}

/// Whoever has taken the socket's place gets no open namespace.
#[test]
fn an_agent_that_is_not_root_is_told_nothing() {
    let (folder, netns) = (tempfile::tempdir().unwrap(), Namespace::new());
    let folder = folder.path();
    let socket = folder.join("other");
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    let listener = std::thread::spawn(move || {
        // Of this thread alone; whose a socket is is who makes it listen.
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        rustix::net::listen(&listener, 8).unwrap();
        UnixListener::from(listener)
    });
    let listener = listener.join().unwrap();
    let conf = conf_at(folder, &socket);
    let (code, message) = Call::new("ADD", &conf, &netns.path()).run().refusal();
    assert_eq!(code, 11);
    assert!(message.ends_with("it belongs to user 65534, not to root"), "{message}");
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut [0; 16]).unwrap(), 0, "it hung up without a word");
}
