//! A real upstream: unbound, plain and by TLS, that dies and comes back.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use bowline_lab::kubernetes::Authority;

use super::*;

/// unbound with names of its own, in a folder that goes with it.
struct Unbound {
    plain: SocketAddr,
    tls: SocketAddr,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

/// A port that nobody has by TCP or UDP.
fn free_port() -> SocketAddr {
    loop {
        let address = free();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

impl Unbound {
    fn start() -> Unbound {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let authority = Authority::new(folder.path(), "upstreams").unwrap();
        let own = authority.server("unbound", &["dns.example.org"], &[]).unwrap();
        let (plain, tls) = (free_port(), free_port());
        let texts: String =
            (0..40).map(|n| format!(" local-data: 'big.example.org. 300 IN TXT \"{n:0>100}\"'\n")).collect();
        let configuration = format!(
            "server:\n interface: 127.0.0.1@{}\n interface: 127.0.0.1@{}\n tls-port: {}\n tls-service-key: {}\n \
             tls-service-pem: {}\n do-daemonize: no\n chroot: ''\n username: ''\n directory: {}\n pidfile: ''\n \
             use-syslog: no\n logfile: {}\n access-control: 127.0.0.0/8 allow\n module-config: iterator\n \
             local-zone: example.org. static\n local-data: 'www.example.org. 300 IN A 192.0.2.1'\n \
             local-data: 'example.org. 60 IN SOA ns.example.org. host.example.org. 1 2 3 4 60'\n{texts}\
             remote-control:\n control-enable: no\n",
            plain.port(),
            tls.port(),
            tls.port(),
            own.key.display(),
            own.certificate.display(),
            folder.path().display(),
            at("log"),
        );
        std::fs::write(at("unbound.conf"), configuration).unwrap();
        let mut unbound = Unbound { plain, tls, folder, process: None };
        unbound.run();
        unbound
    }

    fn run(&mut self) {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let process = Command::new("unbound")
            .arg("-c")
            .arg(self.folder.path().join("unbound.conf"))
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unbound is there: run `scripts/setup test`");
        self.process = Some(process);
        // It listens by TCP last.
        let tls = self.tls;
        until("unbound listens", || std::net::TcpStream::connect(tls).is_ok());
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn authority(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn unbound_is_asked_plainly_and_by_tls_and_proves_itself() {
    let unbound = Unbound::start();
    let (plain, tls, ca) = (unbound.plain, unbound.tls, unbound.authority().join("ca.crt"));
    let by_tls = |zone: &str, name: &str| {
        format!(
            "{zone} {{\n rewrite name suffix .{zone}. .example.org. answer auto\n \
             forward . tls://{tls} {{\n  tls {}\n  tls_servername {name}\n }}\n}}\n",
            ca.display()
        )
    };
    let served = Served::start(&format!(
        "example.org {{\n forward . {plain} {{\n  prefer_udp\n }}\n}}\n{}{}\
         c {{\n rewrite name suffix .c. .example.org. answer auto\n forward . tls://127.0.0.1%dns.example.org:{} {{\n  tls {}\n }}\n}}\n",
        by_tls("a", "dns.example.org"),
        by_tls("b", "dns.example.com"),
        tls.port(),
        ca.display(),
    ));
    let answer = served.ask(&question("wWw.Example.org.", Type::A));
    assert_eq!(last_byte(&answer), 1);
    let denied = served.ask(&question("no.example.org.", Type::A));
    assert_eq!((denied.rcode(), denied.authorities.len()), (Rcode::NXDOMAIN, 1));
    // What is too big for UDP is fetched by TCP, and cut for a client by UDP.
    let big = served.ask(&question("big.example.org.", Type::TXT));
    assert!(big.flags.tc());
    assert!(served.page().contains(&format!("proto=\"tcp\",proxy_name=\"forward\",to=\"{plain}\"}} 1\n")));
    for name in ["www.a.", "www.c."] {
        for _ in 0..3 {
            assert_eq!(last_byte(&served.ask(&question(name, Type::A))), 1, "{name}");
        }
    }
    // One connection for each block: the handshake is not made again.
    let misses =
        format!("coredns_proxy_conn_cache_misses_total{{proto=\"tcp-tls\",proxy_name=\"forward\",to=\"{tls}\"}} 2\n");
    let page = served.page();
    assert!(page.contains(&misses), "{page}");
    // It has no certificate for that name.
    assert_eq!(served.rcode("www.b."), Rcode::SERVFAIL);
}

#[test]
fn unbound_dies_while_questions_come_and_comes_back() {
    let mut unbound = Unbound::start();
    let served = Served::start(&format!(
        ". {{\n cache {{\n  success 1000 1 0\n  servfail 0\n }}\n forward . {} {{\n  health_check 100ms\n  max_fails 1\n }}\n}}\n",
        unbound.plain
    ));
    let asked = question("www.example.org.", Type::A);
    assert_eq!(served.ask(&asked).rcode(), Rcode::NOERROR);
    unbound.kill();
    until("it is down", || served.ask(&asked).rcode() == Rcode::SERVFAIL);
    unbound.run();
    until("it is back", || served.ask(&asked).rcode() == Rcode::NOERROR);
    for _ in 0..20 {
        assert_eq!(served.ask(&asked).rcode(), Rcode::NOERROR);
    }
}
