//! What the log says of upstreams' troubles and of questions: the same as CoreDNS's under the same Corefile, as people's
//! patterns and those who collect logs expect it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use bowline_dns::wire::Type;
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Place, Server, binary};

use crate::server::{Dns, PATIENCE, question};

/// What fails, and how.
const NAMES: [&str; 7] =
    ["silent.test", "refused.test", "tcp.test", "closes.test", "plain.test", "together.test", "nobody.test"];

fn corefile(silent: u16, closed: u16, closes: u16, plain: u16) -> String {
    let block = |zone: &str, errors: &str, to: String, options: &str| {
        format!("{zone} {{\n    log\n    {errors}\n    forward . {to} {{\n        max_fails 0\n{options}    }}\n}}\n")
    };
    let tcp = "        force_tcp\n";
    let together = "errors {\n        consolidate 1s \".* i/o timeout$\" warning\n    }";
    [
        block("silent.test", "errors", format!("127.0.0.1:{silent}"), ""),
        block("refused.test", "errors", format!("127.0.0.1:{closed}"), ""),
        block("tcp.test", "errors", format!("127.0.0.1:{closed}"), tcp),
        block("closes.test", "errors", format!("127.0.0.1:{closes}"), tcp),
        block("plain.test", "errors", format!("tls://127.0.0.1:{plain}"), ""),
        block("together.test", together, format!("127.0.0.1:{silent}"), ""),
        "nobody.test {\n    errors\n    log\n}\n".to_owned(),
    ]
    .concat()
}

/// The lines of a log that tell of questions, without what is another each time: ports, ids and durations.
fn lines(log: &str) -> BTreeSet<String> {
    let told = |line: &&str| line.contains("plugin/errors: ") || line.contains(" IN ");
    log.lines().filter(told).map(without_numbers).collect()
}

/// Each number of more than two digits, or with a point, is "N".
fn without_numbers(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (front, digits) = rest.split_at(at);
        let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(length);
        shown.push_str(front);
        let is_of_time =
            shown.ends_with(' ') && after.starts_with('.') || shown.ends_with("N.") && after.starts_with('s');
        let is_own = is_of_time || shown.ends_with("N.0.0.1:") || shown.ends_with(" - ");
        shown.push_str(if is_own || length > 2 { "N" } else { number });
        rest = after;
    }
    shown + rest
}

#[test]
fn the_log_is_coredns() {
    let lab = Lab::new("dns-errors").unwrap();
    let place = Place::machine(&lab).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Nobody listens there, for either protocol, and nobody is given it meanwhile.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closes = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let text = corefile(silent.local_addr().unwrap().port(), closed, port(&closes), port(&plain));
    // One takes connections and ends them once it has read the question; the other says what is no TLS.
    std::thread::spawn(move || {
        for mut stream in closes.incoming().flatten() {
            // A close with something unread would be a reset.
            let mut length = [0; 2];
            let mut message = [0; 512];
            if stream.read_exact(&mut length).is_ok() {
                let _ = stream.read_exact(&mut message[..usize::from(u16::from_be_bytes(length)).min(512)]);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in plain.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });

    let mut ours = Dns::start(&place, "errors", &text, &[]);
    let folder = place.folder("errors-coredns").unwrap();
    std::fs::write(folder.join("Corefile"), &text).unwrap();
    let mut theirs = Server::new("coredns", folder.join("log"));
    let their_port = ours.port + 1;
    let mut command = place.command(binary("coredns").unwrap());
    command.arg("-conf").arg(folder.join("Corefile")).arg(format!("-dns.port={their_port}"));
    theirs.start(&mut command).unwrap();
    for port in [ours.port, their_port] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // Refused until it listens.
        let began = std::time::Instant::now();
        let mut buffer = [0; 512];
        while socket.send(&question("nobody.test", Type::A, 9)).is_err() || socket.recv(&mut buffer).is_err() {
            assert!(began.elapsed() < PATIENCE, "nobody answers at {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        for name in NAMES {
            socket.send(&question(name, Type::A, 7)).unwrap();
        }
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in NAMES {
            socket.recv(&mut buffer).unwrap();
        }
    }
    let their_log = || std::fs::read_to_string(folder.join("log")).unwrap();
    let is_whole =
        |log: &str| log.contains("errors like") && NAMES.iter().all(|name| log.contains(&format!(" IN {name}. ")));
    theirs.wait_until("it has told all", || is_whole(&their_log())).unwrap();
    ours.wait("it has told all", |dns| is_whole(&dns.log()));
    assert_eq!(lines(&ours.log()), lines(&their_log()), "{}\n\n{}", ours.log(), their_log());
    let said = lines(&ours.log());
    let has = |part: &str| assert!(said.iter().any(|line| line.contains(part)), "{part} in {said:?}");
    has("[ERROR] plugin/errors: 2 silent.test. A: read udp N.0.0.1:N->N.0.0.1:N: i/o timeout");
    has("[WARNING] plugin/errors: 1 errors like '.* i/o timeout$' occurred in last 1s");
    has("[INFO] N.0.0.1:N - N \"A IN refused.test. udp ");
    // Where it listens, as CoreDNS says it.
    for log in [ours.log(), their_log()] {
        assert!(log.lines().any(|line| line.starts_with("silent.test.:")), "{log}");
    }
}
