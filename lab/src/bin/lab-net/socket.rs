//! Sockets as the clients need them: time-outs, v4-mapped addresses, errors by name.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{self, Errno};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// A client's socket that gives up after `timeout`, in connect() too.
pub(crate) fn open(target: &SocketAddr, kind: SocketType, timeout: Duration) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(timeout))?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(timeout))?;
    if kind == SocketType::STREAM {
        // Close by RST: no TIME_WAIT, which would use up the ports of a storm.
        sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
    }
    Ok(fd)
}

/// The address as an IPv6 socket names an IPv4 one: `::ffff:a.b.c.d`.
pub(crate) fn mapped(target: SocketAddr) -> SocketAddr {
    match target.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), target.port()),
        IpAddr::V6(_) => target,
    }
}

/// Sends all or nothing.
pub(crate) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let sent = net::send(fd, bytes, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives a line (TCP), without its end. The other side's close is ECONNRESET.
pub(crate) fn receive_line(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        let (got, _) = net::recv(fd, &mut buffer[filled..], RecvFlags::empty())?;
        if got == 0 {
            return Err(if filled == buffer.len() { Errno::MSGSIZE } else { Errno::CONNRESET });
        }
        filled += got;
        if buffer[filled - 1] == b'\n' {
            return Ok(filled - 1);
        }
    }
}

/// Receives a datagram, and who sent it.
pub(crate) fn receive_from(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddr>)> {
    let (got, _, from) = net::recvfrom(fd, buffer, RecvFlags::empty())?;
    Ok((got, from.and_then(|from| SocketAddr::try_from(from).ok())))
}

/// The first word of an answer: the server's name.
pub(crate) fn name(answer: &[u8]) -> &str {
    let word = answer.split(|&byte| byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(word).unwrap_or("?")
}

/// An errno as people know it; a time-out of the socket (EAGAIN, EINPROGRESS) as ETIMEDOUT.
pub(crate) fn errno_name(errno: Errno) -> String {
    let known = match errno {
        Errno::AGAIN | Errno::INPROGRESS | Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::CONNRESET => "ECONNRESET",
        Errno::PIPE => "EPIPE",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::PERM => "EPERM",
        Errno::ACCESS => "EACCES",
        Errno::ISCONN => "EISCONN",
        Errno::NOTCONN => "ENOTCONN",
        Errno::INVAL => "EINVAL",
        Errno::MSGSIZE => "EMSGSIZE",
        Errno::NOBUFS => "ENOBUFS",
        other => return format!("errno {}", other.raw_os_error()),
    };
    known.to_owned()
}
