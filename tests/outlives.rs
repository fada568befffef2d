//! A server outlives who reads its log, its terminal and a full disk; commands end in peace where nobody reads any more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Command, Stdio};

use common::manifest::simple;
use common::{Ground, at, server, tcp1};

const LOST: &str = "bowline_log_lines_lost_total";

/// Has the agent write lines, and looks whether it goes on serving; `n` is another one each time.
fn goes_on(ground: &Ground, n: u16) {
    let vip = at("10.96.1.1", 1000 + n);
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 80000}]}\n---\n";
    ground.agent.put(&format!("bad-{n}.yaml"), bad);
    ground.agent.serve("web.yaml", &simple("web", vip).to([server(1)]).yaml(), "web", 1);
    ground.agent.wait("the change is served", |agent| agent.get().frontends("web") == [vip]);
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    ground.agent.barrier();
    assert_eq!(ground.agent.healthz().unwrap(), "ok\n");
}

#[test]
fn the_agent_outlives_who_reads_its_log() {
    let mut ground = Ground::without_agent("head", 1);
    let (read, write) = pipe().unwrap();
    ground.agent.log_to(write);
    ground.agent.spawn();
    // `2>&1 | head -1`
    let mut first = String::new();
    BufReader::new(read).read_line(&mut first).unwrap();
    assert!(first.contains("starting"), "{first}");
    ground.agent.wait("the agent is ready", |agent| agent.readyz().is_ok());
    for n in 1..=3 {
        goes_on(&ground, n);
    }
    ground.agent.wait("lost lines are counted", |agent| agent.metric(LOST).is_some_and(|lost| lost > 0.0));
    ground.agent.stop();
}

#[test]
fn the_agent_outlives_a_full_disk() {
    let mut ground = Ground::without_agent("fulldisk", 1);
    ground.agent.log_to(File::options().write(true).open("/dev/full").unwrap());
    ground.agent.start();
    goes_on(&ground, 1);
    ground.agent.wait("lost lines are counted", |agent| agent.metric(LOST).is_some_and(|lost| lost > 0.0));
    ground.agent.stop();
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing_and_says_what_was_lost() {
    let mut ground = Ground::without_agent("blocked", 1);
    let (read, write) = pipe().unwrap();
    ground.agent.log_to(write);
    ground.agent.start();
    // More lines than the pipe takes and than may wait.
    let bad = |n| format!("kind: Service\napiVersion: v1\nmetadata: {{name: {}-{n}}}\nspec: 1\n---\n", "b".repeat(200));
    ground.agent.put("many.yaml", &(0..10_000).map(bad).collect::<String>());
    ground.agent.wait("lines are lost", |agent| agent.metric(LOST).is_some_and(|lost| lost > 0.0));
    goes_on(&ground, 1);
    // Somebody reads again: what waited, then how many are missing.
    let lines = BufReader::new(read).lines().map(Result::unwrap);
    let said = lines.into_iter().find(|line| line.contains("lines of the log were lost")).unwrap();
    assert!(said.contains("WARN"), "{said}");
    ground.agent.stop();
}

/// A pipe that takes no more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (read, mut write) = pipe().unwrap();
    write.write_all(&[b'x'; 65_536]).unwrap();
    (read, write)
}

#[test]
fn the_agent_ends_though_nobody_reads_its_log() {
    let mut ground = Ground::without_agent("blockedend", 1);
    let (_read, write) = full_pipe();
    ground.agent.log_to(write);
    ground.agent.start();
    goes_on(&ground, 1);
    ground.agent.stop();
    // The same for a start that fails.
    let (_read, write) = full_pipe();
    ground.agent.log_to(write);
    ground.agent.flags(&["--require-network-policy"]);
    ground.agent.spawn();
    assert_eq!(ground.agent.ended().code(), Some(1));
}

/// Runs a command on a terminal of its own, as the leader of its session. Says its pid; closes the terminal when it is
/// told to, says so, and ends with the command.
const TERMINAL: &str = r#"
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen(["setsid", "--ctty"] + sys.argv[1:], stdin=slave, stdout=slave, stderr=slave)
os.close(slave)
print(child.pid, flush=True)
text = b""
while b"starting" not in text:
    text += os.read(master, 4096)
print("started", flush=True)
sys.stdin.readline()
os.close(master)
print("closed", flush=True)
sys.exit(child.wait())
"#;

#[test]
fn the_agent_outlives_its_terminal() {
    let mut ground = Ground::without_agent("terminal", 1);
    ground.agent.below(&["python3", "-c", TERMINAL]);
    let (stdout, mut stdin) = ground.agent.spawn_with_pipes();
    let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
    let pid = lines.next().unwrap();
    assert_eq!(lines.next().unwrap(), "started");
    ground.agent.wait("the agent is ready", |agent| agent.readyz().is_ok());
    stdin.write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap(), "closed");
    for n in 1..=2 {
        goes_on(&ground, n);
    }
    // A terminal that closes once more, as to a server in the background.
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    goes_on(&ground, 3);
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(ground.agent.ended().success());
}

#[test]
fn commands_end_in_peace_where_nobody_reads_what_they_say() {
    let gone = || {
        let (read, write) = pipe().unwrap();
        drop(read);
        Stdio::from(write)
    };
    for (args, code) in [
        (&["get", "services", "--bpf-root", "/sys/fs/bpf/no-such-folder"][..], 1),
        (&["get", "pods"], 1),
        (&["node"], 1),
        (&["node", "--no-such-flag"], 2),
        (&["apply", "-f", "/no/such/file", "--state", "etcd:http://127.0.0.1:1"], 1),
        (&["delete", "service"], 1),
        (&["diff", "-f", "/no/such/file", "--state", "etcd:http://127.0.0.1:1"], 2),
        (&["dns", "--conf", "/no/such/file"], 1),
        (&["dns", "check", "--conf", "/no/such/file"], 1),
        (&["check", "--cgroup-root", "/tmp"], 1),
        (&["help"], 0),
        (&["man"], 0),
        (&["completions", "bash"], 0),
        (&["--version"], 0),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        let status = command.args(args).stdin(Stdio::null()).stdout(gone()).stderr(gone()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
    // And where what they print can't be written, they say so.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    let mut child = command.arg("man").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.contains("No space left"), "{said}");
}
