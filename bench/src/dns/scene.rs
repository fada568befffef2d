//! The cluster that is asked for: objects in a real API server, and questions with the answers that are right.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Result;
use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use serde_json::json;

use super::DnsArgs;
use crate::Bench;
use crate::manifests;
use crate::sources::objects::{self, Object};
use crate::sources::writer::Writer;

/// Every so many Services one is headless.
const HEADLESS: usize = 40;
/// Endpoints of a headless one.
const OF_HEADLESS: usize = 4;

/// A cluster in a real API server.
pub(super) struct Scene {
    pub(super) place: Place,
    pub(super) api: ApiServer,
    pub(super) writer: Writer,
    services: usize,
    endpoints: usize,
    folder: PathBuf,
    _etcd: Etcd,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
    Headless,
    NxDomain,
    Ptr,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] = [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Headless, Kind::NxDomain, Kind::Ptr];

    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::A => "A of a Service",
            Kind::Aaaa => "AAAA of one without IPv6 (no data)",
            Kind::Srv => "SRV of a port",
            Kind::Headless => "A of a headless Service of 4",
            Kind::NxDomain => "a name that is none (search path)",
            Kind::Ptr => "PTR of a Service's address",
        }
    }
}

impl Scene {
    /// Starts the API server and loads it.
    pub(super) fn load(bench: &Bench, args: &DnsArgs, lab: &Lab) -> Result<Scene> {
        bench.go_on(&format!("loading {} Services into an API server", args.services))?;
        let place = Place::machine(lab)?;
        let etcd = Etcd::start(&place, &EtcdOptions::default())?;
        // Room for so many addresses.
        let flags = vec!["--service-cluster-ip-range=10.96.0.0/12".to_owned()];
        let api = ApiServer::start(&place, &etcd, &ApiServerOptions { flags, ..ApiServerOptions::default() })?;
        let writer = Writer::kubernetes(&api.admin())?;
        writer.create_all(objects::namespaces()?.into_iter().map(Ok))?;
        let folder = lab.folder("questions")?;
        let (services, endpoints) = (args.services, args.endpoints);
        let scene = Scene { place, api, writer, services, endpoints, folder, _etcd: etcd };
        let objects = (0..services).flat_map(|index| match scene.objects(index, &scene.addresses(index)) {
            Ok(objects) => objects.map(Ok).into(),
            Err(error) => vec![Err(error)],
        });
        scene.writer.create_all(objects)?;
        Ok(scene)
    }

    /// In words.
    pub(super) fn what(&self) -> String {
        let total: usize = (0..self.services).map(|index| self.addresses(index).len()).sum();
        format!("{} Services, {total} endpoints", self.services)
    }

    fn is_headless(index: usize) -> bool {
        index % HEADLESS == HEADLESS - 1
    }

    /// The headless Services.
    pub(super) fn headless(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.services).filter(|index| Scene::is_headless(*index))
    }

    /// The endpoints of a Service at first.
    pub(super) fn addresses(&self, index: usize) -> Vec<IpAddr> {
        let mut addresses = manifests::endpoints(self.endpoints, index);
        if Scene::is_headless(index) {
            addresses.truncate(OF_HEADLESS);
        }
        addresses
    }

    fn objects(&self, index: usize, endpoints: &[IpAddr]) -> Result<[Object; 2]> {
        let [mut service, slice] = objects::service(index, endpoints)?;
        if Scene::is_headless(index) {
            let spec = &mut service.value["spec"];
            spec["clusterIP"] = json!("None");
            spec["clusterIPs"] = json!(["None"]);
        }
        Ok([service, slice])
    }

    /// Gives a Service these endpoints.
    pub(super) fn change(&self, index: usize, endpoints: &[IpAddr]) -> Result<Object> {
        let [_, slice] = self.objects(index, endpoints)?;
        slice.triggered()
    }

    /// The name of a Service.
    pub(super) fn name(index: usize) -> String {
        format!("web-{index}.shop-{}.svc.cluster.local.", index % 100)
    }

    /// A file of questions of this kind, one for each Service that has the kind.
    pub(super) fn questions(&self, kind: Kind) -> Result<PathBuf> {
        let mut text = String::new();
        for index in 0..self.services {
            let name = Scene::name(index);
            let ip = crate::sources::objects::address(index).ip();
            match (kind, Scene::is_headless(index)) {
                (Kind::A, false) => writeln!(text, "{name} A NOERROR {ip}")?,
                (Kind::Aaaa, false) => writeln!(text, "{name} AAAA NOERROR")?,
                (Kind::Srv, false) => writeln!(text, "_http._tcp.{name} SRV NOERROR 0 100 80 {name}")?,
                (Kind::NxDomain, false) => writeln!(text, "www.example.com.{name} A NXDOMAIN")?,
                (Kind::Headless, true) => {
                    let addresses: Vec<_> = self.addresses(index).iter().map(ToString::to_string).collect();
                    writeln!(text, "{name} A NOERROR {}", addresses.join(" "))?;
                }
                (Kind::Ptr, false) => {
                    let IpAddr::V4(ip) = ip else { continue };
                    let [a, b, c, d] = Ipv4Addr::octets(&ip);
                    writeln!(text, "{d}.{c}.{b}.{a}.in-addr.arpa. PTR NOERROR {name}")?;
                }
                _ => {}
            }
        }
        let path = self.folder.join(format!("{kind:?}"));
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
