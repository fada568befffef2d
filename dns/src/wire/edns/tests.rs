//! The OPT record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Edns, option};
use crate::wire::{Class, Data, Type};

#[test]
fn rfc6891_6_1_2_and_3_fields_of_an_opt_record() {
    let edns = Edns {
        version: 1,
        flags: 0x4001,
        rcode_high: 2,
        options: vec![(option::COOKIE, b"12345678".to_vec()), (option::PADDING, vec![])],
        ..Edns::new(1232, true)
    };
    let record = edns.to_record();
    assert_eq!((record.rtype, record.class, record.ttl), (Type::OPT, Class(1232), 0x0201_C001));
    assert_eq!(record.data.as_bytes(), b"\x00\x0A\x00\x0812345678\x00\x0C\x00\x00");
    assert_eq!(Edns::from_record(&record), Some(edns.clone()));
    assert_eq!((edns.option(option::COOKIE), edns.option(option::EDE)), (Some(&b"12345678"[..]), None));
}

#[test]
fn options_must_be_whole() {
    for data in [&b"\x00"[..], b"\x00\x08\x00", b"\x00\x08\x00\x02a"] {
        let record = crate::wire::Record { data: Data::from_bytes(data), ..Edns::new(512, false).to_record() };
        assert_eq!(Edns::from_record(&record), None);
    }
}

#[test]
fn options_that_do_not_fit_are_left_out() {
    let edns = Edns { options: vec![(1, vec![0; 60000]), (2, vec![0; 6000])], ..Edns::default() };
    assert_eq!(edns.to_record().data.as_bytes().len(), 60004);
}
