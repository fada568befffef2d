//! The programs that answer: on the first CPU, each with one thread that answers. One is asked at a time.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_lab::kubernetes::{Place, Server, binary};

use crate::Bench;
use crate::process::status_kb;

/// A program that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A loop of recvmmsg and sendmmsg that flips a bit.
    Bare,
    Bowline,
    /// Another build of it.
    Beside,
    Coredns,
    Unbound,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Program::Bare => "bare socket loop",
            Program::Bowline => "Bowline",
            Program::Beside => "the build beside",
            Program::Coredns => "CoreDNS",
            Program::Unbound => "unbound",
        }
    }
}

/// What a process takes, in MB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// With the pages of its program file, which the kernel may drop and which processes share.
    pub(super) resident: f64,
    /// Its own data: heap, stacks.
    pub(super) own: f64,
}

/// Where a program listens: each at an address of its own, so that several may run. A place's address is in
/// 127.64.0.0/10; the two /10 behind it are nobody's, nor is the /11 before it.
fn address_of(program: Program, place: &Place) -> IpAddr {
    let (from, size) = match program {
        Program::Beside => (32, 32),
        Program::Bare | Program::Unbound => (64, 64),
        Program::Bowline => (128, 64),
        Program::Coredns => (192, 64),
    };
    match place.address() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            IpAddr::from([a, from + b % size, c, d])
        }
        address @ IpAddr::V6(_) => address,
    }
}

/// A server that runs.
pub(super) struct Running {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    /// From the start of the process to the first right answer.
    pub(super) first: Duration,
    server: Server,
}

impl Running {
    /// Starts a program on a configuration, and waits until it answers `probe` with an answer that `is_right`.
    pub(super) fn start(
        bench: &Bench,
        program: Program,
        place: &Place,
        configuration: &str,
        probe: &[u8],
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<Running> {
        let folder = place.folder(&format!("dns-{program:?}"))?;
        let file = folder.join("configuration");
        // The bare loop has an address with others.
        let port = if program == Program::Bare { 5301 } else { 5300 };
        let address = SocketAddr::new(address_of(program, place), port);
        std::fs::write(&file, configuration.replace("ADDRESS", &address.ip().to_string()))?;
        let mut command = place.command("taskset");
        command.args(["-c", "0"]);
        match program {
            Program::Bare => {
                command.arg(beside("examples/echo")?).args([&address.to_string(), "0"]);
            }
            Program::Bowline | Program::Beside => {
                let builds = bench.builds()?;
                let build = builds.get(usize::from(program == Program::Beside)).context("no build is beside")?;
                command.arg(build).arg("dns").arg("--conf").arg(&file);
                command.args(["--dns.port", &port.to_string(), "--threads", "1"]);
            }
            Program::Coredns => {
                command.env("GOMAXPROCS", "1").arg(binary("coredns")?).arg("-conf").arg(&file);
                command.args(["-dns.port", &port.to_string()]);
            }
            Program::Unbound => {
                command.args(["unbound", "-d", "-p", "-c"]).arg(&file);
            }
        }
        let mut server = Server::new(program.name(), folder.join("log"));
        let began = Instant::now();
        server.start(&mut command)?;
        let socket = UdpSocket::bind((place.address(), 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut answer = [0; 4096];
        server.wait_until("the first right answer", || {
            let sent = socket.send_to(probe, address);
            sent.is_ok() && socket.recv(&mut answer).is_ok_and(|length| is_right(&answer[..length]))
        })?;
        Ok(Running { program, address, first: began.elapsed(), server })
    }

    pub(super) fn pid(&self) -> Result<u32> {
        self.server.pid().context("the server isn't running")
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let megabytes = |field| anyhow::Ok(status_kb(self.pid()?, field)? as f64 / 1024.0);
        Ok(Memory { resident: megabytes("VmRSS")?, own: megabytes("RssAnon")? })
    }

    pub(super) fn stop(mut self) -> Result<()> {
        self.server.kill()
    }
}

/// A program beside this one.
fn beside(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let path = this.parent().unwrap_or(Path::new("")).join(name);
    anyhow::ensure!(path.exists(), "{} is not there: cargo build --release -p bowline-sys --examples", path.display());
    Ok(path)
}

/// A question as a message.
pub(super) fn message(name: &str, rtype: u16) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// Whether an answer has these four bytes at its end, where the address of its last record stands.
pub(super) fn ends_with(answer: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => answer.ends_with(&address.octets()),
        IpAddr::V6(address) => answer.ends_with(&address.octets()),
    }
}

/// A server that knows the names which are forwarded: knotd, on the second CPU.
pub(super) struct Upstream {
    address: SocketAddr,
    _server: Server,
}

impl Upstream {
    /// Starts it with a zone, `names.test`, that has every name, for an hour.
    pub(super) fn start(place: &Place, folder: &Path) -> Result<Upstream> {
        let address = SocketAddr::new(place.address(), 5310);
        let zone = folder.join("names.test");
        let text = "$ORIGIN names.test.\n@ 3600 IN SOA ns.names.test. admin.names.test. 1 3600 600 86400 60\n\
                    @ 3600 IN NS ns.names.test.\nns 3600 IN A 192.0.2.53\n* 3600 IN A 192.0.2.1\n";
        std::fs::write(&zone, text)?;
        let configuration = format!(
            "server:\n    listen: {}@{}\n    rundir: \"{}\"\n    udp-workers: 1\n    tcp-workers: 1\n\
             database:\n    storage: \"{}\"\nzone:\n  - domain: names.test\n    file: \"{}\"\n",
            address.ip(),
            address.port(),
            folder.display(),
            folder.display(),
            zone.display()
        );
        let file = folder.join("knot.conf");
        std::fs::write(&file, configuration)?;
        let mut server = Server::new("knotd", folder.join("knotd.log"));
        server.start(place.command("taskset").args(["-c", "1", "knotd", "-c"]).arg(&file))?;
        let socket = UdpSocket::bind((place.address(), 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (probe, mut answer) = (message("a.names.test", 1), [0; 512]);
        server.wait_until("knotd answers", || {
            socket.send_to(&probe, address).is_ok() && socket.recv(&mut answer).is_ok_and(|length| length > 40)
        })?;
        Ok(Upstream { address, _server: server })
    }

    /// What a program is started with to forward to it.
    pub(super) fn configuration(&self, program: Program) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        match program {
            Program::Unbound => format!(
                "server:\n interface: ADDRESS@5300\n num-threads: 1\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
                 use-syslog: no\n pidfile: \"\"\n access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n \
                 module-config: \"iterator\"\n so-rcvbuf: 4m\n msg-cache-size: 64m\n rrset-cache-size: 128m\n \
                 local-zone: \"test.\" nodefault\nforward-zone:\n name: \".\"\n forward-addr: {ip}@{port}\n"
            ),
            _ => format!(".:5300 {{\n bind ADDRESS\n errors\n forward . {ip}:{port}\n cache 3600\n}}\n"),
        }
    }
}
