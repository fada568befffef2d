//! What `bowline get services -o json` shows.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// A front end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Frontend {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Backend {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) id: u32,
    pub(crate) life: u32,
    pub(crate) active: bool,
}

/// One port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Port {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port_name: String,
    pub(crate) protocol: String,
    pub(crate) family: String,
    pub(crate) id: u32,
    pub(crate) scheduler: String,
    pub(crate) affinity_seconds: Option<u32>,
    pub(crate) generation: u32,
    pub(crate) turn: u64,
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) backends: Vec<Backend>,
}

impl Port {
    /// Where clients reach it.
    pub(crate) fn frontends(&self) -> Vec<SocketAddr> {
        self.frontends.iter().map(|f| SocketAddr::new(f.address, f.port)).collect()
    }

    /// Where they are led.
    pub(crate) fn backends(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(|b| SocketAddr::new(b.address, b.port)).collect()
    }
}

/// All ports of all Services.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ports(pub(crate) Vec<Port>);

impl Ports {
    /// The ports of a Service, by name alone.
    pub(crate) fn of<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Port> + use<'a> {
        let service = service.to_owned();
        self.0.iter().filter(move |port| port.name == service)
    }

    /// The first port of a Service.
    pub(crate) fn one(&self, service: &str) -> Option<&Port> {
        self.of(service).next()
    }

    /// Whether every port of a Service can be reached, and there is one.
    pub(crate) fn is_there(&self, service: &str) -> bool {
        let mut ports = self.of(service).peekable();
        ports.peek().is_some() && ports.all(|port| !port.frontends.is_empty())
    }

    /// The backends of all its ports.
    pub(crate) fn backends(&self, service: &str) -> Vec<SocketAddr> {
        self.of(service).flat_map(Port::backends).collect()
    }

    /// The front ends of all its ports.
    pub(crate) fn frontends(&self, service: &str) -> Vec<SocketAddr> {
        self.of(service).flat_map(Port::frontends).collect()
    }
}
