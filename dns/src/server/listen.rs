//! The sockets at the addresses at which servers listen.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

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
