//! What the tests of the agent share: a node with servers and clients, an agent on it that reads a folder,
//! and questions to the Services that it serves.
//!
//! ```text
//! node    its agent `bowline node`; 192.168.0.1 and fd01::1
//!   server   10.1.0.2 and fd00:1::2; server s-N answers on port 8000 + N, TCP and UDP, both families
//!   client   10.1.0.3 and fd00:1::3; asks
//! ```
#![allow(dead_code, unused_imports, reason = "no test file uses all of it")]

mod agent;
pub(crate) mod manifest;
mod view;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bowline_lab::{Host, Lab, Node, Pod, Process, lab_net};
use serde::Deserialize;

pub(crate) use agent::{Agent, Ended, attached, bowline, bowline_in, put, run};
pub(crate) use view::{Port, Ports};

/// For a defect, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the servers of a [`Ground`] are.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Their address of the other family.
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);

/// The IPv4 endpoint of server `s-N`.
pub(crate) fn server(n: u16) -> SocketAddr {
    (SERVER, 8000 + n).into()
}

/// The IPv6 endpoint of server `s-N`.
pub(crate) fn server6(n: u16) -> SocketAddr {
    (SERVER6, 8000 + n).into()
}

/// An address with a port.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// A node with a pod that serves, a pod that asks, and an agent. Fields are dropped in this order.
pub(crate) struct Ground {
    pub(crate) agent: Agent,
    servers: Vec<Process>,
    pub(crate) client: Pod,
    pub(crate) server: Pod,
    pub(crate) node: Arc<Node>,
    pub(crate) lab: Lab,
}

impl Ground {
    /// Servers `s-1` to `s-N` and an agent that isn't started.
    pub(crate) fn without_agent(tag: &str, servers: u16) -> Ground {
        let lab = Lab::new(tag).unwrap();
        let node = Arc::new(lab.node("node").unwrap());
        let (server, client) = (node.pod("server").unwrap(), node.pod("client").unwrap());
        assert_eq!(server.ips(), [IpAddr::from(SERVER), SERVER6.into()]);
        let servers = (1..=servers).map(|n| serve(&server, n)).collect();
        let agent = Agent::new(&lab, &node);
        Ground { agent, servers, client, server, node, lab }
    }

    /// The same with the agent started, on a folder that is empty.
    pub(crate) fn new(tag: &str, servers: u16) -> Ground {
        let mut ground = Ground::without_agent(tag, servers);
        ground.agent.start();
        ground
    }

    /// Ends server `s-N`.
    pub(crate) fn end_server(&mut self, n: u16) {
        self.servers[usize::from(n) - 1].kill().unwrap();
    }
}

fn serve(pod: &Pod, n: u16) -> Process {
    let both = [pod.address(8000 + n), pod.address6(8000 + n)];
    pod.serve(&format!("s-{n}"), &both, &both).unwrap()
}

/// What a client saw of one question.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Seen {
    pub(crate) target: SocketAddr,
    /// Whom the answer came from, or getpeername.
    pub(crate) from: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// The server that answered.
    pub(crate) name: Option<String>,
    /// The call that failed, and how.
    pub(crate) what: Option<String>,
    pub(crate) errno: Option<String>,
}

impl Seen {
    /// The server that answered, or the errno.
    pub(crate) fn who(&self) -> String {
        self.name.clone().or_else(|| self.errno.clone()).unwrap_or_default()
    }

    /// The call that failed and its errno: `connect ECONNREFUSED`.
    pub(crate) fn failure(&self) -> String {
        format!("{} {}", self.what.as_deref().unwrap_or_default(), self.errno.as_deref().unwrap_or_default())
    }
}

fn parse(text: &str) -> Vec<Seen> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a client of `bowline-lab-net` (`connect --target …`) in a host.
pub(crate) fn ask(host: &Host, args: &str) -> Vec<Seen> {
    let args: Vec<&str> = args.split_whitespace().collect();
    parse(&host.lab_net(&args).unwrap())
}

/// The same, in the host's network namespace but outside its cgroup.
pub(crate) fn ask_outside(host: &Host, args: &str) -> Vec<Seen> {
    let mut command = host.in_netns(lab_net().unwrap());
    let out = command.args(args.split_whitespace()).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{command:?}: {out:?}");
    parse(&String::from_utf8(out.stdout).unwrap())
}

/// Who answers so many TCP connections, one after the other.
pub(crate) fn tcp(host: &Host, target: SocketAddr, times: u32) -> Vec<String> {
    ask(host, &format!("connect --target {target} --times {times}")).iter().map(Seen::who).collect()
}

/// Who answers one TCP connection.
pub(crate) fn tcp1(host: &Host, target: SocketAddr) -> String {
    tcp(host, target, 1).remove(0)
}

/// Who answers one datagram of an unconnected socket.
pub(crate) fn udp1(host: &Host, target: SocketAddr) -> String {
    ask(host, &format!("udp --target {target}"))[0].who()
}

/// A client that keeps its connections or its socket, and asks again when told.
pub(crate) struct Client {
    process: Process,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    targets: usize,
}

impl Client {
    /// Starts `connect` or `udp` with targets; returns with what the first round saw.
    pub(crate) fn start(host: &Host, args: &str) -> (Client, Vec<Seen>) {
        let mut command = host.command(lab_net().unwrap());
        command.args(args.split_whitespace()).arg("--stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = host.spawn(&mut command).unwrap();
        let lines = BufReader::new(process.child.stdout.take().unwrap()).lines();
        let targets = args.split_whitespace().filter(|word| *word == "--target").count();
        let mut client = Client { process, lines, targets };
        let seen = client.read();
        (client, seen)
    }

    fn read(&mut self) -> Vec<Seen> {
        (0..self.targets).map(|_| serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()).collect()
    }

    /// One more round: every target once.
    pub(crate) fn again(&mut self) -> Vec<Seen> {
        writeln!(self.process.child.stdin.as_mut().unwrap()).unwrap();
        self.read()
    }

    /// Closes its sockets and waits for its end.
    pub(crate) fn end(mut self) {
        drop(self.process.child.stdin.take());
        assert!(self.process.wait(PATIENCE).unwrap().success());
    }
}
