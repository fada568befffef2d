//! Where this server can be reached: by these addresses it finds the Service it belongs to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::server::Building;

/// The addresses that the block listens on, loopback left out; all of the host where it says none. The node agent's
/// own are no Service's.
pub(super) fn addresses(building: &Building<'_>) -> Vec<IpAddr> {
    let bound = &building.block.bind;
    let bound = if bound.is_empty() { &building.services.node_local } else { bound };
    let all = if bound.is_empty() { of_host() } else { bound.clone() };
    all.into_iter().filter(|ip| !ip.is_loopback()).collect()
}

/// The addresses of this host, as the kernel tells them; none where /proc isn't there.
fn of_host() -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut all: Vec<IpAddr> = ipv4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4).collect();
    all.extend(ipv6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::V6));
    all
}

/// From the routing tables: each address stands above the line of its own route, `/32 host LOCAL`.
fn ipv4(tables: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in tables.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|address| !found.contains(address)));
        }
    }
    found
}

/// One a line, which begins with it in 32 hexadecimal digits.
fn ipv6(table: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok().map(Ipv6Addr::from_bits);
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let tables = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            Local:\n     +-- 10.0.0.0/24 2 0 2\n        |-- 10.0.0.0\n           /24 link UNICAST\n\
            \x20       |-- 10.0.0.7\n           /32 host LOCAL\n        |-- 10.0.0.255\n           /32 link BROADCAST\n\
            Local:\n        |-- 10.0.0.7\n           /32 host LOCAL\n";
        assert_eq!(ipv4(tables), [Ipv4Addr::new(10, 0, 0, 7)]);
        let table = "fd000000000000000000000000000001 02 40 00 80 eth0\nno such\n";
        assert_eq!(ipv6(table), ["fd00::1".parse::<Ipv6Addr>().unwrap_or(Ipv6Addr::UNSPECIFIED)]);
    }

    #[test]
    fn this_host_has_a_loopback_address() {
        assert!(of_host().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
