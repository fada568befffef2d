//! Folders of many Services with their EndpointSlices, as kubectl prints them, YAML or JSON, a file for
//! each Service or all in one.

mod yaml;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bowline_lab::Lab;
use serde_json::{Value, json};

/// How manifests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

/// In how many files: YAML documents or a JSON List in one, or a file for each Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    One,
    Many,
}

/// What a folder holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) services: usize,
    /// Of each Service.
    pub(crate) endpoints: usize,
    pub(crate) format: Format,
    pub(crate) files: Files,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Yaml => "yaml",
            Format::Json => "json",
        }
    }
}

/// A folder of manifests.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    /// Where files are written before they are renamed into the folder: not in it nor beside it, where
    /// the agent would hear of it.
    next: PathBuf,
    shape: Shape,
    /// Of each Service.
    texts: Vec<String>,
}

impl Folder {
    /// Writes a new folder of a lab.
    pub(crate) fn write(lab: &Lab, name: &str, shape: Shape) -> Result<Folder> {
        let dir = lab.folder(&format!("{name}/state"))?;
        let next = lab.folder(&format!("{name}-next"))?.join("next");
        let texts =
            (0..shape.services).map(|service| text(&shape, objects(service, &endpoints(shape.endpoints, service))));
        let folder = Folder { dir, next, shape, texts: texts.collect() };
        match shape.files {
            Files::One => folder.write_one()?,
            Files::Many => (0..shape.services).try_for_each(|service| folder.write_service(service))?,
        }
        Ok(folder)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Bytes of all manifests.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }

    /// Where a Service is reached: TCP port 80, and the port after it for what [`Folder::serve`] adds.
    pub(crate) fn address(service: usize) -> SocketAddr {
        SocketAddr::new(cluster_ip(service).into(), 80)
    }

    /// The one endpoint of a Service becomes another one. Ports 80 and 81, TCP and UDP, lead to the ports
    /// 8080 and 8081 there.
    pub(crate) fn serve(&mut self, service: usize, endpoint: IpAddr) -> Result<Change<'_>> {
        let [mut first, mut second] = objects(service, &[endpoint]);
        first["spec"]["ports"] = ports(
            |name, protocol, port| json!({"name": name, "port": port, "protocol": protocol, "targetPort": port + 8000}),
        );
        second["ports"] =
            ports(|name, protocol, port| json!({"name": name, "port": port + 8000, "protocol": protocol}));
        self.change(service, [first, second])
    }

    /// Another address for one endpoint of a Service.
    pub(crate) fn replace(&mut self, service: usize, index: usize, endpoint: IpAddr) -> Result<Change<'_>> {
        let mut endpoints = endpoints(self.shape.endpoints, service);
        endpoints[index] = endpoint;
        self.change(service, objects(service, &endpoints))
    }

    fn change(&mut self, service: usize, objects: [Value; 2]) -> Result<Change<'_>> {
        self.texts[service] = text(&self.shape, objects);
        let to = match self.shape.files {
            Files::One => self.one(),
            Files::Many => self.file(service),
        };
        match self.shape.files {
            Files::One => self.write_all(&self.next)?,
            Files::Many => fs::write(&self.next, &self.texts[service])?,
        }
        Ok(Change { from: &self.next, to })
    }

    fn one(&self) -> PathBuf {
        self.dir.join(format!("all.{}", self.shape.format.name()))
    }

    /// The file of a Service, where each has its own.
    fn file(&self, service: usize) -> PathBuf {
        self.dir.join(format!("web-{service:05}.{}", self.shape.format.name()))
    }

    fn write_service(&self, service: usize) -> Result<()> {
        let path = self.file(service);
        fs::write(&path, &self.texts[service]).with_context(|| format!("cannot write {}", path.display()))
    }

    fn write_one(&self) -> Result<()> {
        self.write_all(&self.one())
    }

    fn write_all(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let (head, between, tail) = match self.shape.format {
            Format::Yaml => ("", "", ""),
            Format::Json => ("{\"apiVersion\": \"v1\", \"items\": [\n", ",\n", "], \"kind\": \"List\"}\n"),
        };
        file.write_all(head.as_bytes())?;
        for (index, text) in self.texts.iter().enumerate() {
            file.write_all(if index == 0 { b"" } else { between.as_bytes() })?;
            file.write_all(text.as_bytes())?;
        }
        file.write_all(tail.as_bytes())?;
        file.flush()?;
        Ok(())
    }
}

/// A changed file that is written and not yet in its place.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    from: &'a Path,
    to: PathBuf,
}

impl Change<'_> {
    /// Renames it over the old one.
    pub(crate) fn publish(&self) -> Result<()> {
        fs::rename(self.from, &self.to).with_context(|| format!("cannot rename to {}", self.to.display()))
    }

    /// Where it goes.
    pub(crate) fn path(&self) -> &Path {
        &self.to
    }
}

fn cluster_ip(service: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 1, 0).to_bits() + service as u32)
}

/// So many addresses that only this Service has, and nobody answers at.
pub(crate) fn endpoints(count: usize, service: usize) -> Vec<IpAddr> {
    let first = Ipv4Addr::new(10, 128, 0, 0).to_bits() + (service * count) as u32;
    (first..).take(count).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
}

fn ports(port: impl Fn(&str, &str, u16) -> Value) -> Value {
    json!([port("a", "TCP", 80), port("b", "TCP", 81), port("c", "UDP", 80), port("d", "UDP", 81)])
}

/// A Service and its slice.
pub(crate) fn objects(service: usize, endpoints: &[IpAddr]) -> [Value; 2] {
    let address = cluster_ip(service);
    let namespace = format!("shop-{}", service % 100);
    let name = format!("web-{service}");
    let first = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "creationTimestamp": "2026-03-01T10:00:00Z", "labels": {"app": name}, "name": name,
            "namespace": namespace, "resourceVersion": format!("{service}01"),
            "uid": format!("3f2b6c1e-7a54-4c0b-9a57-{service:012}"),
        },
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            "selector": {"app": name}, "sessionAffinity": "None", "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    });
    let endpoint = |(index, address): (usize, &IpAddr)| {
        let node = (service + index) % 500;
        json!({
            "addresses": [address],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{node}"),
            "targetRef": {
                "kind": "Pod", "name": format!("web-{service}-6d4cf56db6-{index:05}"), "namespace": namespace,
                "uid": format!("8c1d6f0a-1b2c-4d3e-8f90-{service:06}{index:06}"),
            },
            "zone": format!("zone-{}", node % 3),
        })
    };
    let second = json!({
        "addressType": "IPv4", "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "endpoints": endpoints.iter().enumerate().map(endpoint).collect::<Vec<_>>(),
        "metadata": {
            "creationTimestamp": "2026-03-01T10:00:01Z",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": name,
            },
            "name": format!("{name}-x7k2p"), "namespace": namespace, "resourceVersion": format!("{service}02"),
            "uid": format!("5e8d7c6b-1a2b-4c3d-9e8f-{service:012}"),
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    [first, second]
}

/// The text of a Service's objects; in one file they stand side by side.
fn text(shape: &Shape, objects: [Value; 2]) -> String {
    match (shape.format, shape.files) {
        (Format::Yaml, _) => objects.iter().map(|object| format!("---\n{}", yaml::document(object))).collect(),
        (Format::Json, files) => {
            let items = objects.map(|object| format!("{object:#}")).join(",\n");
            match files {
                Files::One => items,
                Files::Many => format!("{{\"apiVersion\": \"v1\", \"items\": [\n{items}], \"kind\": \"List\"}}\n"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
