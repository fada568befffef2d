//! Messages of rtnetlink (RFC 3549; linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h): as much as a dummy interface
//! with addresses takes.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// NLMSG_ERROR: the kernel's word on a request; error 0 is "done".
const ERROR: u16 = 2;
/// NLMSG_DONE: the end of a list.
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const LIST: u16 = 0x300;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

/// Attributes of links: IFLA_IFNAME, IFLA_LINKINFO (and in it IFLA_INFO_KIND), IFLA_IFALIAS.
const NAME: u16 = 3;
const INFO: u16 = 18;
const KIND: u16 = 1;
const ALIAS: u16 = 20;
/// Attributes of addresses: IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
/// IFA_F_NODAD: usable at once, without asking the neighbours.
const NO_DETECTION: u32 = 2;
/// IFF_UP.
const UP: u32 = 1;

/// Bytes of `struct nlmsghdr` and of `struct ifinfomsg`: both 16.
const HEADER: usize = 16;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// What somebody has noted of it.
    pub(super) alias: String,
}

/// A conversation with the kernel about the interfaces of this network namespace.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Netlink> {
        // NETLINK_ROUTE is protocol 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let messages = self.ask(GET_LINK, LIST, &link(0, 0))?;
        Ok(messages.iter().filter_map(|message| read_link(message)).collect())
    }

    /// Makes an interface of this kind (`dummy`, `bridge`).
    pub(super) fn add(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let mut body = link(0, 0);
        attribute(&mut body, NAME, &text(name));
        let mut info = Vec::new();
        attribute(&mut info, KIND, kind.as_bytes());
        attribute(&mut body, INFO, &info);
        self.ask(NEW_LINK, CREATE | EXCLUSIVE | ACKNOWLEDGE, &body).map(drop)
    }

    /// Takes an interface up and notes something of it; nothing, if that is empty.
    pub(super) fn set_up(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut body = link(index, UP);
        if !alias.is_empty() {
            attribute(&mut body, ALIAS, alias.as_bytes());
        }
        self.ask(NEW_LINK, ACKNOWLEDGE, &body).map(drop)
    }

    /// Removes an interface.
    pub(super) fn remove(&mut self, index: u32) -> io::Result<()> {
        self.ask(DELETE_LINK, ACKNOWLEDGE, &link(index, 0)).map(drop)
    }

    /// Gives an interface an address of its own, if it doesn't have it.
    pub(super) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        // `struct ifaddrmsg`: family, length of the prefix, flags, scope; index.
        let (family, bytes) = match address {
            IpAddr::V4(v4) => (AddressFamily::INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AddressFamily::INET6, v6.octets().to_vec()),
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mut body = vec![u8::try_from(family.as_raw()).unwrap_or(0), bits, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, LOCAL, &bytes);
        attribute(&mut body, ADDRESS, &bytes);
        if address.is_ipv6() {
            attribute(&mut body, FLAGS, &NO_DETECTION.to_ne_bytes());
        }
        self.ask(NEW_ADDRESS, CREATE | REPLACE | ACKNOWLEDGE, &body).map(drop)
    }

    /// Sends a request; returns the bodies of its answers.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((REQUEST | flags).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(body);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (_, length) = recv(&self.socket, &mut *buffer, RecvFlags::TRUNC)?;
            let Some(mut rest) = buffer.get(..length) else {
                return Err(io::Error::other("a message of rtnetlink is longer than any should be"));
            };
            while let Some((kind, sequence, body, next)) = split(rest) {
                rest = next;
                if sequence != self.sequence {
                    continue; // Of a request before this one.
                }
                match kind {
                    DONE => return Ok(answers),
                    ERROR => match body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
                        Some(0) => return Ok(answers),
                        Some(code) => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
                        None => return Err(io::ErrorKind::InvalidData.into()),
                    },
                    _ => answers.push(body.to_vec()),
                }
            }
        }
    }
}

/// The first message of a buffer: kind, sequence number, body; and what follows it.
fn split(buffer: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let (header, _) = buffer.split_first_chunk::<HEADER>()?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    let body = buffer.get(HEADER..length)?;
    let next = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, sequence, body, next))
}

/// `struct ifinfomsg`: family and type 0; flags, of which those change that are set.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let words = [0, index, flags, flags];
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn read_link(message: &[u8]) -> Option<Link> {
    let (head, mut rest) = message.split_first_chunk::<HEADER>()?;
    let index = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
    let mut found = Link { index, name: String::new(), alias: String::new() };
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        let text = || String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        match u16::from_ne_bytes([head[2], head[3]]) {
            NAME => found.name = text(),
            ALIAS => found.alias = text(),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

/// Adds an attribute (`struct rtattr`).
fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend(((4 + value.len()) as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// A string as the kernel wants it.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
