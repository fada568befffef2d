//! What is written by a description is read by it; in the order of the memory that the kernel has.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use bowline_ebpf::layout::{Affinity, AffinityKey};

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
    assert_eq!(first.u64(&vec![0xff; first.at(Field::ServiceSize)], Field::ServiceStandIn), 0);
}

#[test]
fn every_record_comes_back() {
    let endpoint = Endpoint::new([7; 4], 0x1234);
    let key = FrontendKey::new(&endpoint, 17);
    assert_eq!(OURS.read_frontend_key(&OURS.frontend_key(&key)), key);
    let backend = Backend { endpoint, service: 9, life: 3, ..Backend::default() };
    assert_eq!(OURS.read_backend(&OURS.backend(&backend)), backend);
    let t = Translation {
        vip: endpoint,
        backend: endpoint,
        service: 1,
        backend_id: 2,
        life: 3,
        next: 4,
        ..Translation::default()
    };
    assert_eq!(OURS.read_translation(&OURS.translation(&t)), t);
    for key in [SocketKey::first(5), SocketKey::chain(5), SocketKey::further(5, 6), SocketKey::back(5, &endpoint)] {
        assert_eq!(OURS.read_socket_key(&OURS.socket_key(&key)), key);
    }
    let key = AffinityKey::new(u64::MAX - 1, 8);
    assert_eq!(OURS.read_affinity_key(&OURS.affinity_key(&key)), key);
    let value = Affinity { used: 1 << 40, backend: 2, life: 3 };
    assert_eq!(OURS.read_affinity(&OURS.affinity(&value)), value);
    assert_eq!(OURS.read_name(&OURS.name("a/b/c").unwrap()).unwrap(), "a/b/c");
    assert!(OURS.name(&"x".repeat(201)).is_none());
}
