//! What is written by a description is read by it; in the order of the memory that the kernel has.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use bowline_ebpf::layout::{
    Affinity, AffinityKey, Backend, Endpoint, Frontend, FrontendKey, Service, SocketKey, Translation,
};

#[test]
fn a_description_survives_the_map() {
    let read = Records::described_by(&OURS.description()).unwrap();
    assert_eq!(read.0, OURS.0);
    assert!(Records::described_by(&[0; 136]).is_none(), "an empty map describes nothing");
    assert!(Records::described_by(&[1; 3]).is_none());
}

#[test]
fn a_service_of_the_first_layout_has_no_stand_in() {
    // Its description ended before the field.
    let mut first = OURS.0;
    first.version = 1;
    first.fields[Field::ServiceStandIn as usize] = ABSENT;
    let first = Records::described_by(&Records(first).description()).unwrap();
    assert_eq!(first.get::<u64>(&vec![0xff; first.at(Field::ServiceSize)], Field::ServiceStandIn), 0);
}

/// A layout in which these records are laid out otherwise.
fn another() -> Records {
    let mut other = OURS.0;
    other.version = 1;
    for (field, at) in [
        (Field::FrontendKeyProtocol, 8),
        (Field::FrontendKeyPort, 10),
        (Field::FrontendKeyAddress, 12),
        (Field::FrontendKeySize, 28),
        (Field::BackendLife, 8),
        (Field::BackendService, 12),
        (Field::BackendEndpoint, 16),
        (Field::BackendSize, 36),
    ] {
        other.fields[field as usize] = at;
    }
    Records(other)
}

fn comes_back<R: Record + PartialEq + std::fmt::Debug>(record: R) {
    for records in [OURS, another()] {
        let bytes = records.bytes(&record);
        assert_eq!(bytes.len(), records.at(R::SIZE));
        assert_eq!(records.read::<R>(&bytes), record);
    }
}

#[test]
fn every_record_comes_back_in_any_layout() {
    let endpoint = Endpoint::new([7; 4], 0x1234);
    comes_back(FrontendKey::of(&endpoint, 17));
    comes_back(Frontend::new(9));
    comes_back(Service::new(u64::MAX - 1, 2, 3, 4));
    comes_back(Backend::new(endpoint, 9, 3));
    comes_back(Translation::new(endpoint, endpoint, Endpoint::default(), 1, 2, 3, 4));
    for key in [SocketKey::first(5), SocketKey::chain(5), SocketKey::further(5, 6), SocketKey::back(5, &endpoint)] {
        comes_back(key);
    }
    comes_back(AffinityKey::new(u64::MAX - 1, 8));
    comes_back(Affinity::new(1 << 40, 2, 3));
    assert_eq!(OURS.read_name(&OURS.name("a/b/c").unwrap()).unwrap(), "a/b/c");
    assert!(OURS.name(&"x".repeat(201)).is_none());
    assert_ne!(OURS.bytes(&Backend::new(endpoint, 9, 3)), another().bytes(&Backend::new(endpoint, 9, 3)));
}

#[test]
fn bytes_are_those_of_the_struct() {
    // What the programs in the kernel see.
    let bytes = OURS.bytes(&AffinityKey::new(0x0102, 0x0304));
    assert_eq!(&bytes[OURS.at(Field::AffinityKeyClient)..][..8], &0x0102_u64.to_ne_bytes());
    assert_eq!(&bytes[OURS.at(Field::AffinityKeyService)..][..4], &0x0304_u32.to_ne_bytes());
    assert_eq!(bytes.len(), size_of::<AffinityKey>());
    let endpoint = Endpoint::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 0x1112_u16.to_be());
    let bytes = OURS.bytes(&Backend::new(endpoint, 0, 0));
    let at = OURS.at(Field::BackendEndpoint);
    assert_eq!(&bytes[at..at + 20], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x11, 0x12, 0, 0]);
}
