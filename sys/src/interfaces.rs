//! The interfaces of this host and their addresses (getifaddrs(3)).

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of an interface. One without addresses stands here once, without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// The address.
    pub address: Option<IpAddr>,
    /// The interface's index, where the address is link-local (RFC 4007); otherwise 0.
    pub scope: u32,
}

/// All interfaces.
///
/// # Errors
/// What getifaddrs(3) says.
pub fn all() -> io::Result<Vec<Interface>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is valid for writing.
    if unsafe { libc::getifaddrs(&raw mut list) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found: Vec<Interface> = Vec::new();
    let mut next = list;
    // SAFETY: the list's items are valid until it is freed, and the last has no next.
    while let Some(item) = unsafe { next.as_ref() } {
        next = item.ifa_next;
        // SAFETY: each item has a name that ends with a zero byte.
        let name = unsafe { CStr::from_ptr(item.ifa_name) }.to_string_lossy().into_owned();
        let (address, scope) = address(item).map_or((None, 0), |(address, scope)| (Some(address), scope));
        let is_known = found.iter().any(|interface| interface.name == name);
        if address.is_some() || !is_known {
            found.push(Interface { name, address, scope });
        }
    }
    // SAFETY: the list is getifaddrs's, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

fn address(item: &libc::ifaddrs) -> Option<(IpAddr, u32)> {
    // SAFETY: the address is null or valid, and its family says how it is made.
    let family = unsafe { item.ifa_addr.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: as above.
            let at = unsafe { &*item.ifa_addr.cast::<libc::sockaddr_in>() };
            Some((Ipv4Addr::from(u32::from_be(at.sin_addr.s_addr)).into(), 0))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let at = unsafe { &*item.ifa_addr.cast::<libc::sockaddr_in6>() };
            Some((Ipv6Addr::from(at.sin6_addr.s6_addr).into(), at.sin6_scope_id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there_with_its_address() {
        let all = all().unwrap_or_default();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(all.iter().any(|interface| interface.name == "lo" && interface.address == Some(local)), "{all:?}");
    }
}
