//! Reverse zones as CoreDNS's plugin/pkg/cidr gives them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::zones;
use crate::wire::Name;

fn texts(block: &str) -> Vec<String> {
    zones(block).unwrap().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn blocks_on_a_boundary_are_one_zone() {
    let cases = [
        ("0.0.0.0/0", "in-addr.arpa."),
        ("10.0.0.0/8", "10.in-addr.arpa."),
        ("10.20.0.0/16", "20.10.in-addr.arpa."),
        ("10.20.30.40/24", "30.20.10.in-addr.arpa."),
        ("10.20.30.40/32", "40.30.20.10.in-addr.arpa."),
        ("10.20.0.0/016", "20.10.in-addr.arpa."),
        ("fd00::/8", "d.f.ip6.arpa."),
        ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:DB8:ffff::/4", "2.ip6.arpa."),
        ("fd00::1/128", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."),
    ];
    for (block, zone) in cases {
        assert_eq!(texts(block), [zone], "{block}");
    }
}

#[test]
fn others_are_several() {
    assert_eq!(texts("10.0.0.0/15"), ["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]);
    assert_eq!(texts("254.0.0.0/7"), ["254.in-addr.arpa.", "255.in-addr.arpa."]);
    assert_eq!(texts("10.0.0.0/9").len(), 128);
    assert_eq!(texts("fd00::/10"), ["0.d.f.ip6.arpa.", "1.d.f.ip6.arpa.", "2.d.f.ip6.arpa.", "3.d.f.ip6.arpa."]);
    assert_eq!(texts("fe00::/7"), ["e.f.ip6.arpa.", "f.f.ip6.arpa."]);
}

#[test]
fn what_is_no_block() {
    for text in ["example.org", "10.0.0.0", "0/25.2.0.192.in-addr.arpa", "010.0.0.0/8", "/8", "fe80::1%eth0/64"] {
        assert_eq!(zones(text), Ok(None), "{text}");
    }
    for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8", "fd00::/129", "::ffff:10.0.0.0/104"] {
        assert!(zones(text).is_err(), "{text}");
    }
}

proptest! {
    /// An address is in the block just where its reverse name is in one of the zones.
    #[test]
    fn zones_are_the_block(address: u32, length in 0_u32..=32, other: u32, is_near: bool) {
        let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
        let other = if is_near { (address & mask) | (other & !mask) } else { other };
        let zones = zones(&format!("{}/{length}", Ipv4Addr::from_bits(address))).unwrap().unwrap();
        let name = Name::reverse_of(Ipv4Addr::from_bits(other).into());
        let is_in = other & mask == address & mask;
        prop_assert_eq!(zones.iter().filter(|zone| name.is_within(zone)).count(), usize::from(is_in));
    }
}
