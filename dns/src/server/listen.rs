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
    bowline_sys::listen::tcp(scoped(address)?, OPTIONS)
}

/// A socket of datagrams.
pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    bowline_sys::listen::udp(scoped(address)?, OPTIONS)
}

/// A link-local address means something only at its interface (RFC 4007 §6): here the one that has it.
fn scoped(address: SocketAddr) -> io::Result<SocketAddr> {
    let SocketAddr::V6(mut address) = address else { return Ok(address) };
    if address.ip().is_unicast_link_local() {
        let interfaces = bowline_sys::interfaces::all()?;
        let ip = Some(IpAddr::V6(*address.ip()));
        if let Some(found) = interfaces.iter().find(|interface| interface.address == ip) {
            address.set_scope_id(found.scope);
        }
    }
    Ok(address.into())
}
