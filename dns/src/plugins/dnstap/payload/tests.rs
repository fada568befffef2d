//! The fields, by the numbers of dnstap.proto.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use super::*;

#[test]
fn a_message_is_written_field_by_field() {
    let message = Message {
        kind: Kind::ClientResponse,
        transport: Transport::Tls,
        from: Some(Side::of("[::ffff:10.0.0.1]:300".parse().unwrap())),
        to: None,
        asked_at: Some(UNIX_EPOCH + Duration::new(300, 1)),
        answered_at: Some(UNIX_EPOCH + Duration::new(1, 256)),
        question: Some(b"qq"),
        answer: Some(b"a"),
    };
    #[rustfmt::skip]
    let inner = [
        0x08, 6, 0x10, 1, 0x18, 3, 0x22, 4, 10, 0, 0, 1, 0x30, 0xac, 2,
        0x40, 0xac, 2, 0x4d, 1, 0, 0, 0, 0x52, 2, b'q', b'q',
        0x60, 1, 0x6d, 0, 1, 0, 0, 0x72, 1, b'a',
    ];
    let outer = [&[0x0a, 2, b'i', b'd', 0x12, 1, b'v', 0x1a, 1, b'e', 0x72, 37], &inner[..], &[0x78, 1]].concat();
    assert_eq!(encode(b"id", b"v", b"e", &message), outer);
}

#[test]
fn what_is_not_known_is_left_out() {
    let message = Message {
        kind: Kind::ForwarderQuery,
        transport: Transport::Udp,
        from: None,
        to: Some(Side::of("[2001:db8::1]:53".parse().unwrap())),
        asked_at: None,
        answered_at: None,
        question: None,
        answer: None,
    };
    let encoded = encode(b"", b"", b"", &message);
    let ip = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let inner = [&[0x08, 7, 0x10, 2, 0x18, 1, 0x2a, 16], &ip[..], &[0x38, 53]].concat();
    assert_eq!(encoded, [&[0x0a, 0, 0x12, 0, 0x72, 26], &inner[..], &[0x78, 1]].concat());
}
