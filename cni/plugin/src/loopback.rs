//! The plugin as `loopback`: sets a container's `lo` up. The runtime asks for it beside every network, and a node without
//! the reference plugins has none.
//!
//! It answers as the reference plugin does (containernetworking/plugins, main/loopback), but for DEL, which it leaves to the
//! namespace's end: `lo` that goes down under a process that still runs helps nobody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use bowline_cni_protocol::{CniError, CniResult, Command, Environment, Interface, IpConfig, NetConf};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::call::refuse_before;
use crate::netns;

/// Does what a runtime asks; what is to be printed.
pub(crate) fn run(environment: &Environment, json: &Value) -> Result<Option<Value>, CniError> {
    let command = environment.command;
    let config = match command {
        Command::Del => NetConf::for_removal(json)?,
        _ => NetConf::from_json(json)?,
    };
    refuse_before(&config, command)?;
    match command {
        Command::Add => {
            enter(environment)?;
            set_up().map_err(|error| CniError::new(CniError::IO, format!("lo can't be set up: {error}")))?;
            let result = match &config.prev_result {
                Some(before) => CniResult::from_json(before, "prevResult")?,
                None => result(environment.netns.as_deref().unwrap_or_default()),
            };
            Ok(Some(result.to_version(config.cni_version)))
        }
        Command::Check => {
            enter(environment)?;
            let failed = |what: &str| Err(CniError::new(CniError::CHECK_FAILED, what));
            match is_up() {
                Ok(true) if has(Ipv4Addr::LOCALHOST.into()) => Ok(None),
                Ok(true) => failed("lo has no address 127.0.0.1"),
                Ok(false) => failed("lo is down"),
                Err(error) => Err(CniError::new(CniError::IO, format!("lo can't be looked at: {error}"))),
            }
        }
        Command::Del | Command::Gc | Command::Status | Command::Version => Ok(None),
    }
}

/// The addresses are there by themselves once `lo` is up; of a family that is off there is none.
fn result(sandbox: &str) -> CniResult {
    let lo = Interface {
        name: "lo".into(),
        mac: "00:00:00:00:00:00".into(),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    let addresses = [(IpAddr::from(Ipv4Addr::LOCALHOST), "127.0.0.1/8"), (Ipv6Addr::LOCALHOST.into(), "::1/128")];
    let ips = addresses.into_iter().filter(|(ip, _)| has(*ip)).filter_map(|(_, text)| text.parse().ok());
    let ips = ips.map(|address| IpConfig { address, gateway: None, interface: Some(0) }).collect();
    CniResult { interfaces: vec![lo], ips, ..CniResult::default() }
}

/// Whether an address is one of the namespace's: only such a one can be bound to.
fn has(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// From here on the plugin is in the container's network namespace.
fn enter(environment: &Environment) -> Result<(), CniError> {
    use std::os::fd::AsFd as _;
    let path = environment.netns.as_deref().unwrap_or_default();
    let namespace = netns::open(path)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| {
        CniError::new(
            CniError::INVALID_NETNS,
            format!("the network namespace {path} (CNI_NETNS) can't be entered: {error}"),
        )
    })
}

// One request to the kernel and one answer: the library for netlink would be most of the program. The messages are struct
// nlmsghdr and struct ifinfomsg (linux/netlink.h, linux/rtnetlink.h), in the machine's byte order.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
/// `lo` has this number in every namespace (LOOPBACK_IFINDEX in net/flow.h).
const LO: i32 = 1;
/// Where ifi_flags stands in a message.
const FLAGS: usize = 24;

fn set_up() -> io::Result<()> {
    ask(RTM_NEWLINK, NLM_F_ACK, IFF_UP).map(drop)
}

fn is_up() -> io::Result<bool> {
    let answer = ask(RTM_GETLINK, 0, 0)?;
    Ok(number(&answer, FLAGS)? & IFF_UP != 0)
}

/// Asks about `lo`, with these flags of it set; the answer.
fn ask(kind: u16, how: u16, flags: u32) -> io::Result<Vec<u8>> {
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | how).to_ne_bytes());
    // Sequence and sender, then the family and type of device: any.
    message.extend([0; 12]);
    message.extend(LO.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Which flags to change.
    message.extend(flags.to_ne_bytes());
    // No protocol is NETLINK_ROUTE, which is 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 16384];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(length);
    let is_error = answer.get(4..6) == Some(&NLMSG_ERROR.to_ne_bytes()[..]);
    match if is_error { number(&answer, 16)?.cast_signed() } else { 0 } {
        0 => Ok(answer),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

fn number(message: &[u8], at: usize) -> io::Result<u32> {
    let bytes = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or_else(|| io::Error::other("the kernel's answer is too short"))
}
