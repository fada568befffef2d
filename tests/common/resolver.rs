//! A pod that asks the DNS as programs do: by glibc's and by musl's getaddrinfo, and by dig.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bowline_lab::kubernetes::{Cluster, Image, image};
use bowline_lab::wait_for;
use serde_json::{Value, json};

mod libraries;

const PATIENCE: Duration = Duration::from_secs(180);
/// In the pod: getaddrinfo of both libraries.
pub(crate) const LIBRARIES: [&str; 2] = ["/resolve-glibc", "/resolve-musl"];

/// The image `resolver`, built in this folder.
pub(crate) fn resolver_image(folder: &Path) -> Image {
    let [glibc, musl] = libraries::build(folder, LIBRARIES);
    let path = std::env::var_os("PATH").unwrap();
    let mut dig = std::env::split_paths(&path).map(|dir| dir.join("dig"));
    let dig = dig.find(|program| program.is_file()).expect("dig: run 'scripts/setup test'");
    let programs =
        vec![(glibc, LIBRARIES[0].to_owned()), (musl, LIBRARIES[1].to_owned()), (dig, "/usr/bin/dig".to_owned())];
    Image { name: "resolver".into(), programs, entrypoint: Vec::new(), shell: true }
}

/// A pod that waits to be told what to ask. A question that is lost is not asked again but fails, after a time that
/// no busy machine takes for an answer.
pub(crate) fn resolver_pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "dnsConfig": {"options": [{"name": "attempts", "value": "1"}, {"name": "timeout", "value": "20"}]},
            "containers": [
                {"name": "main", "image": image("resolver"), "command": ["/bin/sleep", "1000000"]},
            ],
        },
    })
}

/// Questions without pause, by one library in one pod.
pub(crate) struct Lookups {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lookups {
    /// Of these names, in turn.
    pub(crate) fn start(cluster: &Cluster, namespace: &str, pod: &str, library: &str, names: &[&str]) -> Lookups {
        let words = [&["exec", "-i", "-n", namespace, pod, "--", library, "--storm"], names].concat();
        let mut command = cluster.api().kubectl_command(&words).unwrap();
        // By WebSocket kubectl gives up where a machine is too busy to answer its pings.
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let what = format!("{library} in {pod}");
        Lookups { what, child, input, lines, reader: Some(reader) }
    }

    /// By both libraries in this pod.
    pub(crate) fn both(cluster: &Cluster, namespace: &str, pod: &str, names: &[&str]) -> Vec<Lookups> {
        LIBRARIES.iter().map(|library| Lookups::start(cluster, namespace, pod, library, names)).collect()
    }

    /// How often ten more had been asked.
    fn tens(&self) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| *line == "more").count()
    }

    fn failures(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().filter(|line| *line != "more" && *line != "done").cloned().collect()
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        drop(self.input.take());
        // Only after a panic does it still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until each has asked so many times more, and has not failed.
#[track_caller]
pub(crate) fn go_on(lookups: &[Lookups], more: usize) {
    let goals: Vec<_> = lookups.iter().map(|one| one.tens() + more.div_ceil(10)).collect();
    for (one, goal) in lookups.iter().zip(goals) {
        let what = format!("{more} more lookups by {}: {:?}", one.what, one.failures());
        wait_for(&what, PATIENCE, || one.tens() >= goal || !one.failures().is_empty()).unwrap();
        assert_eq!(one.failures(), Vec::<String>::new(), "{}", one.what);
    }
}

/// Ends them; none has failed. What they did, in words.
#[track_caller]
pub(crate) fn finish(lookups: Vec<Lookups>) -> String {
    let mut said = String::new();
    for mut one in lookups {
        drop(one.input.take());
        one.reader.take().unwrap().join().unwrap();
        let (tens, failures) = (one.tens(), one.failures());
        writeln!(said, "{}: {} lookups, {} failed", one.what, tens * 10, failures.len()).unwrap();
        assert_eq!(failures, Vec::<String>::new(), "{}", one.what);
        assert!(one.lines.lock().unwrap().iter().any(|line| line == "done"), "{} ended before its time", one.what);
    }
    said
}
