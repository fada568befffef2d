//! `bowline node` on a node of a lab, and the other commands.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;

use bowline_lab::{Host, Lab, Node, Process, wait_for};

use super::{PATIENCE, Ports};

/// The defaults of the flags; each node is a network namespace of its own.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10249);
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10256);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }

    /// What it said, if it failed.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert!(!self.status.success(), "{self:?}");
        self.stderr
    }
}

/// Runs `bowline` to its end.
pub(crate) fn bowline(args: &[&str]) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_bowline")).args(args))
}

/// Runs `bowline` with the cgroup and the folder for pins of a node.
pub(crate) fn bowline_in(node: &Node, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    run(command.args(args).arg("--cgroup-root").arg(node.cgroup()).arg("--bpf-root").arg(node.bpf_root()))
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let out = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { status: out.status, stdout: text(out.stdout), stderr: text(out.stderr) }
}

/// An agent: stopped or killed, started again, on the same folder of manifests and the same pins.
pub(crate) struct Agent {
    process: Option<Process>,
    node: Arc<Node>,
    /// The folder of manifests.
    pub(crate) folder: PathBuf,
    log: PathBuf,
    bpf_root: PathBuf,
    name: Option<String>,
    state: Option<String>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    stderr: Option<Stdio>,
    below: Vec<String>,
}

impl Agent {
    /// With a folder of its own below the lab's; not started.
    pub(crate) fn new(lab: &Lab, node: &Arc<Node>) -> Agent {
        let folder = lab.folder(&format!("{}-state", node.name())).unwrap();
        let log = lab.folder("logs").unwrap().join(node.name());
        let (bpf_root, name) = (node.bpf_root().to_owned(), Some(node.name().to_owned()));
        let (state, args, environment, below) = (None, Vec::new(), Vec::new(), Vec::new());
        let (process, stderr, node) = (None, None, node.clone());
        Agent { process, node, folder, log, bpf_root, name, state, args, environment, stderr, below }
    }

    /// Another folder for pins than the node's own.
    pub(crate) fn at(&mut self, bpf_root: &Path) {
        self.bpf_root = bpf_root.to_owned();
    }

    /// No --hostname-override, from the next start on.
    pub(crate) fn nameless(&mut self) {
        self.name = None;
    }

    /// Another --state than its folder, from the next start on.
    pub(crate) fn state(&mut self, state: &str) {
        self.state = Some(state.to_owned());
    }

    /// More flags, from the next start on.
    pub(crate) fn flags(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// An environment variable, from the next start on.
    pub(crate) fn environment(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Where the next start logs to, instead of its file.
    pub(crate) fn log_to(&mut self, stderr: impl Into<Stdio>) {
        self.stderr = Some(stderr.into());
    }

    /// A program with arguments that starts the agent, whose command line follows, from the next start on.
    pub(crate) fn below(&mut self, words: &[&str]) {
        self.below = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Starts it; whoever starts it, or it itself, has pipes for input and output.
    pub(crate) fn spawn_with_pipes(&mut self) -> (ChildStdout, ChildStdin) {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = self.node.spawn(&mut command).unwrap();
        let pipes = (process.child.stdout.take().unwrap(), process.child.stdin.take().unwrap());
        self.process = Some(process);
        pipes
    }

    /// Starts it, without waiting for anything. What it logs is added to what it logged before.
    pub(crate) fn spawn(&mut self) {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(self.node.spawn(&mut command).unwrap());
    }

    fn command(&mut self) -> Command {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let log = self.stderr.take().unwrap_or_else(|| log.into());
        let program = env!("CARGO_BIN_EXE_bowline");
        let mut command = match self.below.split_first() {
            Some((first, words)) => {
                let mut command = self.node.command(first);
                command.args(words).arg(program);
                command
            }
            None => self.node.command(program),
        };
        let folder = format!("files:{}", self.folder.display());
        command.arg("node").arg("--state").arg(self.state.as_ref().unwrap_or(&folder));
        command.arg("--cgroup-root").arg(self.node.cgroup()).arg("--bpf-root").arg(&self.bpf_root);
        if let Some(name) = &self.name {
            command.args(["--hostname-override", name]);
        }
        command.args(&self.args);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stderr(log);
        command
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait("the agent is ready", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let asked = Command::new("kill").args(["-TERM", &process.pid().to_string()]).status().unwrap();
        assert!(asked.success());
        let status = process.wait(PATIENCE).unwrap();
        assert!(status.success(), "{status}; its log:\n{}", self.log());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill().unwrap();
    }

    /// Waits for an end that it comes to by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.take().unwrap().wait(PATIENCE).unwrap()
    }

    /// Whether it was started and neither stopped nor killed.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Where it runs.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Puts a manifest into the folder, by rename.
    pub(crate) fn put(&self, file: &str, text: &str) {
        put(&self.folder.join(file), text);
    }

    /// Takes a manifest out of the folder.
    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.folder.join(file)).unwrap();
    }

    /// Puts a manifest and waits for what it leads to.
    #[track_caller]
    pub(crate) fn apply(&self, file: &str, text: &str, what: &str, holds: impl Fn(&Ports) -> bool) {
        self.put(file, text);
        self.wait(what, |agent| holds(&agent.get()));
    }

    /// Puts a manifest and waits until a Service's ports have so many backends in all.
    #[track_caller]
    pub(crate) fn serve(&self, file: &str, text: &str, service: &str, backends: usize) {
        let what = format!("{service} has {backends} backends");
        self.apply(file, text, &what, |ports| ports.is_there(service) && ports.backends(service).len() == backends);
    }

    /// Returns when everything that was in the folder before has been programmed.
    #[track_caller]
    pub(crate) fn barrier(&self) {
        // Its name sorts last; the next request for metrics waits for the end of the update.
        let text = |port: u16| {
            format!(
                "kind: Service\napiVersion: v1\nmetadata: {{namespace: zzz, name: zzz}}\n\
                 spec: {{clusterIP: 10.96.255.255, ports: [{{port: {port}}}]}}\n"
            )
        };
        let before = self.get().one("zzz").map(|port| port.frontends[0].port);
        let port = if before == Some(1) { 2 } else { 1 };
        self.apply("zzz.yaml", &text(port), "the barrier is there", |ports| {
            ports.one("zzz").is_some_and(|zzz| zzz.frontends.iter().any(|f| f.port == port))
        });
        self.metrics();
    }

    /// Waits until something holds; where it never does, the log and the tables are shown.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&Agent) -> bool) {
        if let Err(error) = wait_for(what, PATIENCE, || holds(self)) {
            let tables = bowline(&["get", "backends", "-o", "wide", "--bpf-root", self.bpf_root.to_str().unwrap()]);
            panic!("{error}\n{}{}\nits log:\n{}", tables.stdout, tables.stderr, self.log());
        }
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, series: &str, value: f64) {
        self.wait(&format!("{series} is {value}"), |agent| agent.metric(series) == Some(value));
    }

    /// Waits until a line of the log has all of these words.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, words: &[&str]) {
        self.wait(&format!("a line with {words:?}"), |agent| agent.has_line(words));
    }

    /// Whether a line of the log has all of these words.
    pub(crate) fn has_line(&self, words: &[&str]) -> bool {
        self.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// All that it logged since the ground was made.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What `bowline get services -o json` shows.
    #[track_caller]
    pub(crate) fn get(&self) -> Ports {
        let root = self.bpf_root.to_str().unwrap();
        serde_json::from_str(&bowline(&["get", "services", "-o", "json", "--bpf-root", root]).ok()).unwrap()
    }

    /// The page of metrics.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        self.node.http(METRICS, "/metrics").unwrap()
    }

    /// The value of one series, `bowline_map_entries{map="services"}`; None: there is none.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let page = self.metrics();
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// /readyz; an error unless the status is 200.
    pub(crate) fn readyz(&self) -> anyhow::Result<String> {
        self.node.http(HEALTH, "/readyz")
    }

    /// /healthz; an error unless the status is 200.
    pub(crate) fn healthz(&self) -> anyhow::Result<String> {
        self.node.http(HEALTH, "/healthz")
    }

    /// The folder of the pinned maps of the layout that serves.
    pub(crate) fn maps(&self) -> PathBuf {
        let entries = fs::read_dir(&self.bpf_root).unwrap().flatten();
        let mut found: Vec<PathBuf> =
            entries.filter(|e| e.file_name().to_string_lossy().starts_with("layout-")).map(|e| e.path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// How many entries a pinned hash map has, counted from outside.
    pub(crate) fn count(&self, map: &str) -> usize {
        let path = self.maps().join(map);
        let out = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path).output().unwrap();
        let entries: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        entries.as_array().unwrap_or_else(|| panic!("{out:?}")).len()
    }

    /// Waits until a pinned hash map has so many entries.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, map: &str, entries: usize) {
        self.wait(&format!("{map} has {entries} entries"), |agent| agent.count(map) == entries);
    }
}

/// The hooks of a cgroup that have a program, as bpftool shows them.
pub(crate) fn attached(host: &Host) -> Vec<String> {
    let out = Command::new("bpftool").args(["-j", "cgroup", "show"]).arg(host.cgroup()).output().unwrap();
    if out.stdout.iter().all(u8::is_ascii_whitespace) {
        return Vec::new();
    }
    let shown: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let programs = shown.as_array().unwrap_or_else(|| panic!("{out:?}"));
    programs.iter().map(|program| program["name"].as_str().unwrap().to_owned()).collect()
}

/// Writes a file beside and renames it into place.
pub(crate) fn put(path: &Path, text: &str) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let temporary = path.with_file_name(format!(".{name}"));
    fs::write(&temporary, text).unwrap();
    fs::rename(&temporary, path).unwrap();
}
