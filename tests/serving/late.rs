//! The state comes late: what programs find that ask as soon as the server listens.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bowline_dns::wire::{Message, Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};

use crate::libraries;
use crate::server::{Dns, PATIENCE, addresses, question};

/// Port 53 of an address that nobody else has: resolvers know no other port.
const HERE: &str = "127.0.0.77:53";
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}
";
const WEB: &str = "web.default.svc.cluster.local";
/// What is not the cluster's does not exist: so ends a search that was told SERVFAIL on its way.
const COREFILE: &str = "cluster.local:53 {
    bind 127.0.0.77
    kubernetes {
        startup_timeout 10m
    }
}
.:53 {
    bind 127.0.0.77
    template ANY ANY {
        rcode NXDOMAIN
    }
}
";

fn ask(name: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(HERE.parse::<SocketAddr>().unwrap()).unwrap();
    // Refused until it listens.
    let _ = socket.send(&question(name, Type::A, 7));
    socket
}

fn answer(socket: &UdpSocket, patience: Duration) -> Option<Message> {
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::read(&buffer[..length]).unwrap())
}

/// What a library finds by this `resolv.conf`, which the program alone sees.
fn resolve(resolv_conf: &Path, library: &Path, name: &str) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#]);
    let out = command.arg(resolv_conf).arg(library).arg(name).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn programs_that_ask_before_the_state_is_read_find_what_is_there() {
    let lab = Lab::new("dns-late").unwrap();
    let place = Place::machine(&lab).unwrap();
    let folder = lab.folder("libraries").unwrap();
    let libraries = libraries::build(&folder, ["glibc", "musl"]);
    let mut etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let state = format!("etcd:{}", etcd.urls().join(","));
    std::fs::write(folder.join("web.yaml"), SERVICE).unwrap();
    let mut apply = place.command(env!("CARGO_BIN_EXE_bowline"));
    let applied = apply.arg("apply").arg("-f").arg(folder.join("web.yaml")).args(["--state", &state]).output().unwrap();
    assert!(applied.status.success(), "{applied:?}");
    etcd.members_mut()[0].kill().unwrap();

    let mut dns = Dns::start(&place, "late", COREFILE, &["--state", &state]);
    dns.wait("it listens, and answers what needs no state", |_| {
        let rcode = answer(&ask("outside.test"), Duration::from_millis(500)).map(|answer| answer.rcode());
        rcode == Some(Rcode::NXDOMAIN)
    });
    // Nobody is told anything yet: these wait, and so do programs, by the first name of their search path.
    let waiting = [ask(WEB), ask("none.default.svc.cluster.local")];
    assert!(answer(&waiting[0], Duration::from_millis(300)).is_none(), "it answers what it can't know");
    let resolv_conf = &folder.join("resolv.conf");
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    std::fs::write(resolv_conf, format!("nameserver 127.0.0.77\n{search}\noptions ndots:5 attempts:2 timeout:30\n"))
        .unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = libraries
            .iter()
            .flat_map(|library| ["web", WEB].map(|name| (library, name)))
            .map(|(library, name)| (library, name, scope.spawn(move || resolve(resolv_conf, library, name))))
            .collect();
        etcd.members_mut()[0].start().unwrap();
        for (library, name, client) in clients {
            let found = client.join().unwrap();
            assert_eq!(found, format!("{name} 10.96.7.7\n"), "{} after {:?}", library.display(), began.elapsed());
        }
    });
    assert_eq!(addresses(&answer(&waiting[0], PATIENCE).unwrap()), ["10.96.7.7"]);
    assert_eq!(answer(&waiting[1], PATIENCE).unwrap().rcode(), Rcode::NXDOMAIN);
}
