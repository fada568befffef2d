//! A state in an etcd that all tests of this file share, and `bowline` that works on it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};
use serde_json::Value;

pub(crate) use crate::common::{Ended, PATIENCE};

struct Server {
    etcd: Etcd,
    lab: Lab,
}

/// A state of its own.
pub(crate) struct Ground {
    server: Arc<Server>,
    /// As --state has it.
    pub(crate) state: String,
    /// For manifests.
    pub(crate) folder: PathBuf,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| {
            let lab = Lab::new("apply").unwrap();
            let place = Place::machine(&lab).unwrap();
            Arc::new(Server { etcd: Etcd::start(&place, &EtcdOptions::default()).unwrap(), lab })
        });
        *shared = Arc::downgrade(&server);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = format!("etcd:{}?prefix=/test-{n}", server.etcd.urls().join(","));
        let folder = server.lab.folder(&format!("manifests-{n}")).unwrap();
        Ground { server, state, folder }
    }

    /// `bowline` with these words, on the state.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        command.args(words.split_whitespace()).env("BOWLINE_STATE", &self.state).current_dir(&self.folder);
        command
    }

    pub(crate) fn bowline(&self, words: &str) -> Ended {
        self.with_input(words, "")
    }

    /// The same, with this on its standard input.
    pub(crate) fn with_input(&self, words: &str, input: &str) -> Ended {
        let mut command = self.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not read it ends with a message of its own.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { status: out.status, stdout: text(out.stdout), stderr: text(out.stderr) }
    }

    /// Applies YAML; returns what was printed.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) -> String {
        self.with_input("apply -f -", yaml).ok()
    }

    #[track_caller]
    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.bowline(&format!("{words} -o json")).ok()).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn etcd_urls(&self) -> Vec<String> {
        self.server.etcd.urls()
    }
}

pub(crate) fn service(name: &str, spec: &str) -> String {
    let comma = if spec.is_empty() { "" } else { ", " };
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{ports: [{{port: 80}}]{comma}{spec}}}\n"
    )
}

pub(crate) fn pod(name: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{phase: Running, podIP: 10.1.0.2}}\n"
    )
}

/// The words of each line.
pub(crate) fn words(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split_whitespace().map(ToOwned::to_owned).collect()).collect()
}
