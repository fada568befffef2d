//! Data by type.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::IpAddr;

use super::{Data, MAX_DATA, Record, Soa, Srv};
use crate::wire::{Name, Type, WireError};

#[test]
fn readers_undo_constructors() {
    let host = Name::parse("host.example").unwrap();
    let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
    assert_eq!((Data::address(v4).to_ip(Type::A), Data::address(v6).to_ip(Type::AAAA)), (Some(v4), Some(v6)));
    assert_eq!((Data::address(v4).to_ip(Type::AAAA), Data::address(v4).to_ip(Type::TXT)), (None, None));
    assert_eq!(Data::name(&host).to_name(), Some(host.clone()));
    let srv = Srv { priority: 1, weight: 2, port: 3, target: host.clone() };
    assert_eq!(Data::srv(1, 2, 3, &host).to_srv(), Some(srv));
    assert_eq!(Data::mx(9, &host).to_mx(), Some((9, host.clone())));
    let (mname, rname) = (host.clone(), Name::root());
    let soa = Soa { mname, rname, serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5 };
    assert_eq!(Data::soa(&soa).to_soa(), Some(soa));
    assert_eq!(Data::txt(&[b"a", b""]).to_txt(), Some(vec![&b"a"[..], b""]));
    assert_eq!(Data::txt(&[]).as_bytes(), [0]);
}

#[test]
fn readers_refuse_other_data() {
    let data = Data::from_bytes(b"\x05ab");
    assert_eq!(
        (data.to_name(), data.to_srv(), data.to_soa(), data.to_mx(), data.to_txt()),
        (None, None, None, None, None)
    );
    assert!(!data.is_made_as(Type::NS) && data.is_made_as(Type(65280)));
}

#[test]
fn data_has_at_most_65535_bytes() {
    assert_eq!(Data::from_bytes(&vec![0; 70000]).as_bytes().len(), MAX_DATA);
    let data = Data::txt(&[&vec![b'a'; 70000]]);
    assert!(data.as_bytes().len() <= MAX_DATA && data.is_made_as(Type::TXT));
}

#[test]
fn rfc3597_4_pointers_are_taken_out_of_data() {
    let message = b"\x04host\x00\x00\x00\x21\x00\x01\x00\x00\x00\x05\x00\x08\x00\x01\x00\x02\x00\x03\xC0\x00";
    let (record, after) = Record::read(message, 6).unwrap();
    assert_eq!(record.data, Data::srv(1, 2, 3, &Name::parse("host").unwrap()));
    assert_eq!(after, message.len());
    // A pointer out of the data, forwards, is none.
    let forwards = b"\x00\x00\x05\x00\x01\x00\x00\x00\x05\x00\x02\xC0\x0D\x01a\x00";
    assert_eq!(Record::read(forwards, 0), Err(WireError::Pointer(11)));
    // A length that ends within a name.
    let short = b"\x00\x00\x05\x00\x01\x00\x00\x00\x05\x00\x02\x01a\x00";
    assert!(Record::read(short, 0).is_err());
}

#[test]
fn names_in_data_may_not_grow_above_65535_bytes() {
    // HIP takes any number of names, and each pointer of 2 bytes stands for 255.
    let mut message = Vec::new();
    for _ in 0..3 {
        message.push(63);
        message.extend([b'a'; 63]);
    }
    message.push(61);
    message.extend([b'a'; 61]);
    message.push(0);
    let at = message.len();
    message.extend(b"\x00\x00\x37\x00\x01\x00\x00\x00\x05");
    message.extend(604_u16.to_be_bytes());
    message.extend([0, 0, 0, 0]);
    message.extend(b"\xC0\x00".repeat(300));
    assert!(matches!(Record::read(&message, at), Err(WireError::Data { .. })));
}
