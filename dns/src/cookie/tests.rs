//! RFC 9018's own examples, and what a server says to each kind of cookie.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn with_secret(hex: &str) -> Cookies {
    let secret = bytes(hex);
    let word = |at: usize| u64::from_le_bytes(secret[at..at + 8].try_into().unwrap());
    Cookies { secret: [word(0), word(8)] }
}

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

#[test]
fn hashes_are_those_of_the_rfcs_examples() {
    for (secret, client, address, cookie) in [
        (SECRET, "2464c4abcf10c957", "198.51.100.100", "010000005cf79f111f8130c3eee29480"),
        (SECRET, "2464c4abcf10c957", "198.51.100.100", "010000005cf7a871d4a564a1442aca77"),
        (SECRET, "fc93fc62807ddb86", "203.0.113.203", "01abcdef5cf78f71a314227b6679ebf5"),
        (
            "dd3bdf9344b678b185a6f5cb60fca715",
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "010000005cf7c57926556bd0934c72f8",
        ),
        (
            "445536bcd2513298075a5d379663c962",
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "010000005cf7c609a6bb79d16625507a",
        ),
    ] {
        let (cookies, client, cookie) = (with_secret(secret), bytes(client), bytes(cookie));
        let data = [client.clone(), cookie.clone()].concat();
        let asked = Asked::read(&data).unwrap();
        let address: IpAddr = address.parse().unwrap();
        let then = u32::from_be_bytes(cookie[4..8].try_into().unwrap());
        assert_eq!(cookies.age(&asked, address, then), Some(0), "{cookie:02x?} of {address}");
        // The same client by a socket of IPv6.
        if let IpAddr::V4(address) = address {
            assert_eq!(cookies.age(&asked, address.to_ipv6_mapped().into(), then), Some(0));
        }
        for (later, age) in [(3600, Some(3600)), (3601, None)] {
            assert_eq!(cookies.age(&asked, address, then + later), age);
        }
        assert_eq!(cookies.age(&asked, address, then - 300), Some(-300));
        assert_eq!(cookies.age(&asked, address, then - 301), None);
        assert_eq!(cookies.age(&asked, "192.0.2.1".parse().unwrap(), then), None);
        assert_eq!(Cookies::default().age(&asked, address, then), None);
    }
}

#[test]
fn a_cookie_comes_back_while_it_is_fresh() {
    let (cookies, address) = (Cookies::default(), "192.0.2.1".parse().unwrap());
    let asked = Asked::read(b"12345678").unwrap();
    assert!(!asked.has_server() && !cookies.is_ours(&asked, address));
    let given = cookies.answer(&asked, address);
    assert!(given.starts_with(b"12345678\x01\0\0\0"));
    let again = Asked::read(&given).unwrap();
    assert!(again.has_server() && cookies.is_ours(&again, address));
    assert_eq!(cookies.answer(&again, address), given);
    // Another one's, one of another server, one of a version that isn't known: a new one.
    for change in [0, 8, 23] {
        let mut other = given;
        other[change] ^= 2;
        let other = Asked::read(&other).unwrap();
        assert!(!cookies.is_ours(&other, address));
        let fresh = cookies.answer(&other, address);
        assert!(cookies.is_ours(&Asked::read(&fresh).unwrap(), address));
    }
    // One that is more than half an hour old, and still good.
    let head = [VERSION, 0, 0, 0].into_iter().chain((seconds() - 1900).to_be_bytes()).collect::<Vec<_>>();
    let head: [u8; 8] = head.try_into().unwrap();
    let old = [&b"12345678"[..], &head, &cookies.hash(b"12345678", head, address)].concat();
    let old = Asked::read(&old).unwrap();
    assert!(cookies.is_ours(&old, address));
    assert_ne!(cookies.answer(&old, address)[8..], *old.server);
}

#[test]
fn lengths_are_the_rfcs() {
    for length in 0..=64usize {
        let data = vec![7; length];
        let is_right = length == 8 || (16..=40).contains(&length);
        assert_eq!(Asked::read(&data).is_ok(), is_right, "{length}");
        let edns = Edns { options: vec![(option::COOKIE, data)], ..Edns::default() };
        assert_eq!(Asked::of(Some(&edns)).is_ok(), is_right);
    }
    assert_eq!(Asked::of(None), Ok(None));
    assert_eq!(Asked::of(Some(&Edns::default())), Ok(None));
}
