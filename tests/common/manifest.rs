//! Manifests, as text.

use std::net::{IpAddr, SocketAddr};

/// A Service of one port, with endpoints written in slices of its own.
#[derive(Clone, Debug)]
pub(crate) struct Simple {
    name: String,
    vip: SocketAddr,
    protocol: &'static str,
    spec: String,
    metadata: String,
    endpoints: Vec<SocketAddr>,
}

/// A TCP Service on this address, without endpoints.
pub(crate) fn simple(name: &str, vip: SocketAddr) -> Simple {
    let (spec, metadata, endpoints) = (String::new(), String::new(), Vec::new());
    Simple { name: name.to_owned(), vip, protocol: "TCP", spec, metadata, endpoints }
}

impl Simple {
    pub(crate) fn udp(mut self) -> Simple {
        self.protocol = "UDP";
        self
    }
    /// More of the spec, in flow style: `sessionAffinity: ClientIP`.
    pub(crate) fn spec(mut self, text: &str) -> Simple {
        self.spec += &format!(", {text}");
        self
    }
    /// More of the metadata, in flow style.
    pub(crate) fn metadata(mut self, text: &str) -> Simple {
        self.metadata += &format!(", {text}");
        self
    }
    pub(crate) fn scheduler(self, name: &str) -> Simple {
        self.metadata(&format!("annotations: {{bowline.dev/scheduler: {name}}}"))
    }
    /// sessionAffinity ClientIP with a time-out in seconds.
    pub(crate) fn affinity(self, seconds: u32) -> Simple {
        self.spec("sessionAffinity: ClientIP")
            .spec(&format!("sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}"))
    }
    pub(crate) fn to(mut self, endpoints: impl IntoIterator<Item = SocketAddr>) -> Simple {
        self.endpoints = endpoints.into_iter().collect();
        self
    }
    /// The documents: the Service, and a slice for each endpoint, since their ports differ.
    pub(crate) fn yaml(&self) -> String {
        let Simple { name, vip, protocol, spec, metadata, endpoints } = self;
        let port = format!("{{port: {}, protocol: {protocol}}}", vip.port());
        let mut text = with_metadata(
            &format!("name: {name}{metadata}"),
            &format!("clusterIP: \"{}\", ports: [{port}]{spec}", vip.ip()),
        );
        for (index, endpoint) in endpoints.iter().enumerate() {
            text += &slice(
                &format!("{name}-{index}"),
                name,
                &format!("[{{addresses: [\"{}\"]}}]", endpoint.ip()),
                &format!("[{{port: {}, protocol: {protocol}}}]", endpoint.port()),
                family(endpoint.ip()),
            );
        }
        text
    }
}

/// `IPv4` or `IPv6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn with_metadata(metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n")
}

/// A Service; `spec` in flow style.
pub(crate) fn service(name: &str, spec: &str) -> String {
    with_metadata(&format!("name: {name}"), spec)
}

/// An EndpointSlice; `endpoints` and `ports` are lists in flow style.
pub(crate) fn slice(name: &str, service: &str, endpoints: &str, ports: &str, kind: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: {kind}\nendpoints: {endpoints}\nports: {ports}\n"
    )
}

/// A Pod with the label `app`; `ports` of its container and `status` in flow style.
pub(crate) fn pod(name: &str, app: &str, ports: &str, status: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: node, containers: [{{name: c, image: example/c, ports: [{ports}]}}]}}\nstatus: {{{status}}}\n"
    )
}
