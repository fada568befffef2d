//! What all Corefiles stand on: one API server with the objects, and one upstream.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place, Server, binary};

use crate::objects::{self, Object};

/// The first port of servers: below those that the kernel gives to clients, and apart from the lab's.
const FIRST_PORT: u16 = 24_000;

/// Servers that both sides ask, and the folder of what they keep. They end with it.
pub(crate) struct Ground {
    pub(crate) api: ApiServer,
    pub(crate) etcd: Etcd,
    pub(crate) place: Place,
    /// What was created, with its status.
    pub(crate) objects: Vec<Object>,
    _upstream: Server,
    // Last: it takes away what the others stood in.
    _lab: Lab,
}

impl Ground {
    /// Starts all, and creates the objects.
    pub(crate) fn new(name: &str) -> Ground {
        let lab = Lab::new(name).unwrap();
        let place = Place::machine(&lab).unwrap();
        let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
        // Nobody makes service accounts here, without which no Pod would be admitted.
        let flags = vec!["--disable-admission-plugins=ServiceAccount".to_owned()];
        let api = ApiServer::start(&place, &etcd, &ApiServerOptions { flags, ..ApiServerOptions::default() }).unwrap();
        api.apply(include_str!("data/serviceimports.yaml")).unwrap();
        api.kubectl(&["wait", "--for=condition=Established", "crd/serviceimports.multicluster.x-k8s.io"]).unwrap();
        let objects = objects::all();
        let upstream = upstream(&place);
        let ground = Ground { api, etcd, place, objects, _upstream: upstream, _lab: lab };
        ground.put(&ground.objects);
        ground
    }

    /// Writes an object's status, if it has one.
    pub(crate) fn set_status(&self, object: &Object) {
        if let Some(status) = object.value.get("status") {
            let patch = serde_json::json!({ "status": status }).to_string();
            let (kind, namespace, name) = (object.kind(), object.namespace(), object.name());
            let words = ["patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
            self.api.kubectl(&words).unwrap();
        }
    }

    /// Creates or changes objects, one after the other.
    pub(crate) fn put(&self, objects: &[Object]) {
        let all: Vec<String> = objects.iter().map(|object| object.value.to_string()).collect();
        self.api.apply(&all.join("\n---\n")).unwrap();
        thread::scope(|scope| {
            objects.chunks(8).for_each(|some| {
                scope.spawn(|| some.iter().for_each(|object| self.set_status(object)));
            });
        });
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.api.kubectl(&["delete", kind, name, "-n", namespace, "--wait=true"]).unwrap();
    }

    /// Where the upstream listens, on port 53 and on [`UPSTREAM_PORT`].
    pub(crate) fn upstream(&self) -> IpAddr {
        self.place.address()
    }

    /// What stands in Corefiles as `{$NAME}`, the same for both servers.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let resolv_conf = self.place.folder("upstream").unwrap().join("resolv.conf");
        vec![
            ("KUBECONFIG", self.api.admin().display().to_string()),
            ("UPSTREAM", self.upstream().to_string()),
            ("UPSTREAM_PORT", UPSTREAM_PORT.to_string()),
            ("RESOLV_CONF", resolv_conf.display().to_string()),
            ("ETCD", self.etcd.urls().join(" ")),
            ("DATA", data().display().to_string()),
        ]
    }
}

/// Addresses of endpoints that only slices of other clusters have.
pub(crate) const MULTICLUSTER_ONLY: &[&str] =
    &["10.30.0.1", "10.30.0.2", "10.30.1.1", "10.30.1.2", "10.30.2.1", "fd30::1"];

/// The upstream's second port.
const UPSTREAM_PORT: u16 = 5300;

/// Files that Corefiles name.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dns/data")
}

/// A CoreDNS that answers what both servers forward.
fn upstream(place: &Place) -> Server {
    let folder = place.folder("upstream").unwrap();
    std::fs::write(folder.join("resolv.conf"), format!("search example.org\nnameserver {}\n", place.address()))
        .unwrap();
    let mut server = Server::new("the upstream", folder.join("log"));
    let mut command = place.command(binary("coredns").unwrap());
    command.arg("-conf").arg(data().join("upstream.Corefile"));
    command.env("ADDRESS", place.address().to_string()).env("PORT", UPSTREAM_PORT.to_string()).env("DATA", data());
    server.start(&mut command).unwrap();
    let at = format!("@{}", place.address());
    server
        .wait_until("it answers", || {
            let mut dig = Command::new("dig");
            dig.args([&at, "+short", "+tries=1", "+time=1", "www.example.org", "A"]);
            dig.output().is_ok_and(|out| out.status.success() && !out.stdout.is_empty())
        })
        .unwrap();
    server
}

/// A port that is free at every address, for UDP and TCP.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Several runs begin apart; what is taken is skipped.
        let apart = (std::process::id() % 70) as u16 * 100;
        let port = FIRST_PORT + (apart + NEXT.fetch_add(1, Ordering::Relaxed)) % 8000;
        let any = (std::net::Ipv6Addr::UNSPECIFIED, port);
        if std::net::UdpSocket::bind(any).is_ok() && std::net::TcpListener::bind(any).is_ok() {
            return port;
        }
    }
}

/// For what must come, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
