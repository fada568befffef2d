//! A runtime that the test plays: it starts the plugin with variables and a configuration.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bowline_lab::wait_for;
use serde_json::{Value, json};

use crate::agent::{Agent, PATIENCE};

/// A call of the plugin.
pub(crate) struct Call {
    program: PathBuf,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) is_success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A configuration of this version that leads to an agent.
pub(crate) fn conf(version: &str, agent: &Agent) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "bowline-cni", "socket": agent.socket(),
        "tombstones": agent.tombstones()})
}

/// The same with another key.
pub(crate) fn with(mut conf: Value, key: &str, value: impl Into<Value>) -> Value {
    conf.as_object_mut().unwrap().insert(key.into(), value.into());
    conf
}

impl Call {
    /// A call without variables and input.
    pub(crate) fn empty() -> Call {
        Call { program: env!("CARGO_BIN_EXE_bowline-cni").into(), variables: Vec::new(), input: Vec::new() }
    }

    /// A call for interface `eth0` of the container `one`; its namespace is named where the command needs it.
    pub(crate) fn new(command: &str, conf: &Value, netns: &Path) -> Call {
        let call = Call::empty().set("CNI_COMMAND", command).input(conf.to_string());
        let call = match command {
            "ADD" | "CHECK" => call.set("CNI_NETNS", netns.to_str().unwrap()),
            _ => call,
        };
        call.set("CNI_CONTAINERID", "one").set("CNI_IFNAME", "eth0").set("CNI_PATH", "/usr/lib/cni:/opt/cni/bin")
    }

    /// Another program than the plugin under its own name.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Call {
        self.program = program.into();
        self
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Call {
        self = self.unset(name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Call {
        self.variables.retain(|(one, _)| one != name);
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Call {
        self.input = input.into();
        self
    }

    /// The plugin, started; it waits for its input.
    pub(crate) fn start(&self) -> Child {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn run(&self) -> Outcome {
        let mut child = self.start();
        let mut stdin = child.stdin.take().unwrap();
        let out = std::thread::scope(|scope| {
            // What is not taken is not read: that is for the answer to show.
            scope.spawn(move || stdin.write_all(&self.input));
            child.wait_with_output().unwrap()
        });
        Outcome {
            is_success: out.status.success(),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// What a successful call has printed.
    pub(crate) fn result(&self) -> Value {
        assert!(self.is_success, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// A successful call that has printed nothing.
    pub(crate) fn nothing(&self) {
        assert!(self.is_success && self.stdout.is_empty() && self.stderr.is_empty(), "{self:?}");
    }

    /// The error of a failed call.
    pub(crate) fn error(&self) -> Value {
        assert!(!self.is_success && self.stderr.is_empty(), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The error of a failed call: its code and message.
    pub(crate) fn refusal(&self) -> (u64, String) {
        let error = self.error();
        (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
    }
}

/// A new network namespace, which nobody has touched; it goes when dropped.
pub(crate) struct Namespace(Child);

impl Namespace {
    pub(crate) fn new() -> Namespace {
        let sleep = Command::new("unshare").args(["--net", "--", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let namespace = Namespace(sleep);
        let own = File::open("/proc/self/ns/net").unwrap().metadata().unwrap().ino();
        wait_for("a namespace of its own", PATIENCE, || {
            fs::read(format!("/proc/{}/cmdline", namespace.0.id())).unwrap().starts_with(b"sleep")
                && namespace.inode() != own
        })
        .unwrap();
        namespace
    }

    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    pub(crate) fn inode(&self) -> u64 {
        fs::metadata(self.path()).unwrap().ino()
    }

    /// What a program prints that runs in it.
    pub(crate) fn output(&self, program: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        let out = command.arg(format!("--net={}", self.path().display())).arg("--").args(program).output().unwrap();
        assert!(out.status.success(), "{program:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
