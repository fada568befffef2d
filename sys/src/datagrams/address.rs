//! Socket addresses (`struct sockaddr_in`, `sockaddr_in6`) and the control messages that tell the local address
//! (IP_PKTINFO of ip(7), IPV6_PKTINFO of RFC 3542), read and written as bytes.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Local, Path};

/// Bytes of the longest address, `sockaddr_in6`.
pub(super) const NAME: usize = mem::size_of::<libc::sockaddr_in6>();
const NAME_V4: usize = mem::size_of::<libc::sockaddr_in>();

/// Bytes for the control messages of a datagram: one of either kind, with its padding.
pub(super) const CONTROL: usize = 40;

/// `struct cmsghdr` as the kernel has it: `size_t` length, `int` level, `int` type.
const HEADER: usize = mem::size_of::<usize>() + 8;

/// A socket address in the kernel's form.
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; NAME]);

/// Control messages in the kernel's form.
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL]);

/// IPv4 where it can be, and whether it came in IPv6's form.
fn unmap(address: Ipv6Addr) -> (IpAddr, bool) {
    address.to_ipv4_mapped().map_or((IpAddr::V6(address), false), |v4| (IpAddr::V4(v4), true))
}

/// What may be behind a mapped form.
fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.first_chunk().copied()
}

impl Name {
    /// The address, and whether it was a mapped one. None: no address of the internet.
    pub(super) fn read(&self, length: usize) -> Option<(SocketAddr, bool)> {
        let bytes = self.0.get(..length.min(NAME))?;
        let port = u16::from_be_bytes(array(bytes, 2)?);
        match libc::c_int::from(u16::from_ne_bytes(array(bytes, 0)?)) {
            libc::AF_INET => {
                let address = Ipv4Addr::from(array::<4>(bytes, 4)?);
                Some((SocketAddr::V4(SocketAddrV4::new(address, port)), false))
            }
            libc::AF_INET6 => {
                let scope = u32::from_ne_bytes(array(bytes, 24)?);
                Some(match unmap(Ipv6Addr::from(array::<16>(bytes, 8)?)) {
                    (IpAddr::V6(v6), _) => (SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)), false),
                    (v4, mapped) => (SocketAddr::new(v4, port), mapped),
                })
            }
            _ => None,
        }
    }

    /// Writes the peer of a path; returns the bytes that it takes.
    pub(super) fn write(&mut self, path: &Path) -> usize {
        let (address, scope) = match path.peer {
            SocketAddr::V4(peer) if !path.mapped => {
                self.0[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                self.0[2..4].copy_from_slice(&peer.port().to_be_bytes());
                self.0[4..8].copy_from_slice(&peer.ip().octets());
                return NAME_V4;
            }
            SocketAddr::V4(peer) => (peer.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(peer) => (*peer.ip(), peer.scope_id()),
        };
        self.0[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        self.0[2..4].copy_from_slice(&path.peer.port().to_be_bytes());
        self.0[4..8].fill(0);
        self.0[8..24].copy_from_slice(&address.octets());
        self.0[24..].copy_from_slice(&scope.to_ne_bytes());
        NAME
    }
}

impl Control {
    /// The local address of a datagram that came, if the socket tells it.
    pub(super) fn read(&self, length: usize) -> Option<Local> {
        let mut rest = self.0.get(..length.min(CONTROL))?;
        loop {
            let size = usize::from_ne_bytes(array(rest, 0)?);
            let data = rest.get(HEADER..size)?;
            match (integer(rest, HEADER - 8)?, integer(rest, HEADER - 4)?) {
                // struct in_pktinfo: index, the address that answers go from, the address in the header
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let address = IpAddr::V4(Ipv4Addr::from(array::<4>(data, 8)?));
                    return Some(Local { address, interface: u32::from_ne_bytes(array(data, 0)?) });
                }
                // struct in6_pktinfo: address, index
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let (address, _) = unmap(Ipv6Addr::from(array::<16>(data, 0)?));
                    return Some(Local { address, interface: u32::from_ne_bytes(array(data, 16)?) });
                }
                _ => rest = rest.get(size.checked_next_multiple_of(mem::align_of::<usize>())?..)?,
            }
        }
    }

    /// Writes our end of a path; returns the bytes that it takes, 0 without one.
    pub(super) fn write(&mut self, path: &Path) -> usize {
        let Some(local) = path.local else { return 0 };
        // As Go's and unbound's answers: an index would keep them from leaving by another interface than the
        // question's, where the routes want that.
        match local.address {
            IpAddr::V4(address) if path.peer.is_ipv4() && !path.mapped => {
                let size = self.header(libc::IPPROTO_IP, libc::IP_PKTINFO, 12);
                let data = &mut self.0[HEADER..];
                data[..4].fill(0);
                data[4..8].copy_from_slice(&address.octets());
                data[8..12].fill(0);
                size
            }
            address => {
                let size = self.header(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20);
                let address = to_v6(address);
                let interface = if address.is_unicast_link_local() { local.interface } else { 0 };
                let data = &mut self.0[HEADER..];
                data[..16].copy_from_slice(&address.octets());
                data[16..20].copy_from_slice(&interface.to_ne_bytes());
                size
            }
        }
    }

    fn header(&mut self, level: libc::c_int, kind: libc::c_int, data: usize) -> usize {
        let size = HEADER + data;
        self.0[..HEADER - 8].copy_from_slice(&size.to_ne_bytes());
        self.0[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        self.0[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        size.next_multiple_of(mem::align_of::<usize>())
    }
}

fn integer(bytes: &[u8], at: usize) -> Option<libc::c_int> {
    array(bytes, at).map(libc::c_int::from_ne_bytes)
}
