//! How a question comes, and an address at which a server listens.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Plain, in datagrams.
    Udp,
    /// Plain, in a stream (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// Whether answers must fit into a datagram.
    pub const fn is_datagram(self) -> bool {
        matches!(self, Transport::Udp)
    }
    /// What CoreDNS's metrics and logs call it: the protocol beneath.
    pub const fn proto(self) -> &'static str {
        if matches!(self, Transport::Udp | Transport::Quic) { "udp" } else { "tcp" }
    }
}

/// An address at which a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// By what. [`Transport::Udp`] stands for plain DNS, which is served by TCP as well.
    pub transport: Transport,
    /// The host's address; None: all of both families.
    pub host: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address of the sockets.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.host.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), self.port)
    }
}

impl fmt::Display for Address {
    /// As CoreDNS's metrics have it: `dns://:53`, `tls://[::1]:853`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp | Transport::Tcp => "dns",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
        };
        match self.host {
            None => write!(f, "{scheme}://:{}", self.port),
            Some(host) => write!(f, "{scheme}://{}", SocketAddr::new(host, self.port)),
        }
    }
}
