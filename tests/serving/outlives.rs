//! A DNS server outlives who reads its log, and its terminal.

use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use bowline_dns::wire::Type;
use bowline_lab::Lab;

use super::server::{PATIENCE, ask, port};

const COREFILE: &str = ". {\n    log\n    errors\n    prometheus {$METRICS}\n    template IN A {\n        answer \"{{ .Name }} 60 IN A 10.0.0.1\"\n    }\n}\n";

/// Ends when dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_dns_server_outlives_who_reads_its_log_and_its_terminal() {
    let lab = Lab::new("dns-outlives").unwrap();
    let path = lab.folder("outlives").unwrap().join("Corefile");
    std::fs::write(&path, COREFILE).unwrap();
    let (at, metrics) = (port(), format!("127.0.0.1:{}", port()));
    let (read, write) = pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.arg("dns").arg("--conf").arg(&path).arg(format!("--dns.port={at}")).env("METRICS", &metrics);
    let mut server = Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(write).spawn().unwrap());
    drop(command);
    let mut first = String::new();
    BufReader::new(read).read_line(&mut first).unwrap();
    assert!(first.contains("starting"), "{first}");
    let began = std::time::Instant::now();
    let dropped = || {
        let mut page = String::new();
        if let Ok(mut stream) = TcpStream::connect(&metrics) {
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: page\r\n\r\n").unwrap();
            stream.read_to_string(&mut page).unwrap();
        }
        let value = page.lines().find_map(|line| line.strip_prefix("bowline_dns_log_lines_dropped_total "));
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    let mut n = 0;
    while dropped() == 0.0 {
        assert_eq!(ask(at, &format!("n{n}.example."), Type::A).answers.len(), 1);
        assert!(began.elapsed() < PATIENCE, "no line was dropped");
        n += 1;
    }
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &server.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-HUP");
    // Reads its Corefile again, which it logs.
    signal("-USR1");
    for n in 0..3 {
        assert_eq!(ask(at, &format!("m{n}.example."), Type::A).answers.len(), 1);
    }
    signal("-TERM");
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}
