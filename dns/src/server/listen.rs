//! Addresses at which servers listen, and the sockets there.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use crate::query::Transport;

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

/// Each thread has a socket of its own at an address.
const OPTIONS: bowline_sys::listen::Options =
    bowline_sys::listen::Options { reuse_port: true, one_family: false, freebind: false, transparent: false };

/// A listener of streams.
pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    bowline_sys::listen::tcp(address, OPTIONS)
}

/// A socket of datagrams.
pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    bowline_sys::listen::udp(address, OPTIONS)
}
