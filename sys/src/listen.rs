//! Sockets that serve: UDP, and TCP listeners with the same options. They don't block.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

/// Bytes of datagrams that may wait at a socket, as far as the kernel grants them: bursts last until the thread
/// runs again.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: libc::c_int = 4096;

/// How to listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Several sockets at one address, among which the kernel spreads peers (SO_REUSEPORT): one for each thread.
    pub reuse_port: bool,
    /// An unspecified address means its own family, not both.
    pub one_family: bool,
    /// Bind an address that this host doesn't have (yet) (IP_FREEBIND).
    pub freebind: bool,
    /// Take traffic for addresses of others, which the rules send here (IP_TRANSPARENT; needs CAP_NET_ADMIN).
    pub transparent: bool,
}

/// A UDP socket. At an unspecified address (and a transparent one) it tells for each datagram to which address it
/// was sent ([`crate::datagrams::Path`]). An unspecified address of either family means both families, as in
/// Go's `net.ListenPacket`, where the kernel has both; any other IPv6 address means itself alone.
///
/// # Errors
/// What socket(2), bind(2) or setsockopt(2) say; EADDRINUSE, EADDRNOTAVAIL and EACCES are the usual ones.
pub fn udp(address: SocketAddr, options: Options) -> io::Result<UdpSocket> {
    let socket = open(address, SocketType::DGRAM, options, |socket, bound| {
        // Without CAP_NET_ADMIN the limit `net.core.rmem_max` holds. A smaller buffer is no reason not to serve.
        if set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER).is_err() {
            let _ = set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER);
        }
        if !bound.ip().is_unspecified() && !options.transparent {
            return Ok(());
        }
        match bound {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            // Tells IPv4's addresses too, mapped.
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        }
    })?;
    Ok(UdpSocket::from(socket))
}

/// A TCP listener; addresses as for [`udp`].
///
/// # Errors
/// As for [`udp`].
pub fn tcp(address: SocketAddr, options: Options) -> io::Result<TcpListener> {
    let socket = open(address, SocketType::STREAM, options, |socket, _| {
        // Connections of a former process that linger don't keep the next from listening.
        set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
    })?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

type Prepare<'a> = dyn Fn(&OwnedFd, SocketAddr) -> io::Result<()> + 'a;

fn open(
    address: SocketAddr,
    kind: SocketType,
    options: Options,
    prepare: impl Fn(&OwnedFd, SocketAddr) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    if !address.ip().is_unspecified() || options.one_family {
        return bind(address, kind, options, &prepare);
    }
    let both = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
    match bind(both, kind, options, &prepare) {
        // A kernel without IPv6 (ipv6.disable=1).
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.is_ipv4() => {
            bind(address, kind, options, &prepare)
        }
        result => result,
    }
}

fn bind(address: SocketAddr, kind: SocketType, options: Options, prepare: &Prepare<'_>) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if kind == SocketType::DGRAM { ipproto::UDP } else { ipproto::TCP };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
    let (level, freebind, transparent) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_FREEBIND, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, libc::IPV6_TRANSPARENT),
    };
    if address.is_ipv6() {
        let only = !address.ip().is_unspecified() || options.one_family;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only.into())?;
    }
    if options.reuse_port {
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if options.freebind {
        set(&socket, level, freebind, 1)?;
    }
    if options.transparent {
        set(&socket, level, transparent, 1)?;
    }
    prepare(&socket, address)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// setsockopt(2) of an option that is a number.
fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is valid for reading of `size` bytes during the call.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
