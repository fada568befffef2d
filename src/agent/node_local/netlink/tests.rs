//! What is written is what the kernel reads, as far as that can be told without it; the rest is in tests/node_local.rs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn the_loopback_interface_is_listed() {
    let links = Netlink::open().unwrap().links().unwrap();
    assert!(links.iter().any(|link| link.name == "lo" && link.index == 1), "{links:?}");
}

#[test]
fn messages_are_taken_apart_and_no_length_misleads() {
    let mut message = link(7, 0);
    attribute(&mut message, NAME, &text("eth0"));
    attribute(&mut message, 99, &[1]);
    attribute(&mut message, ALIAS, b"mine");
    let read = Link { index: 7, name: "eth0".into(), alias: "mine".into() };
    assert_eq!(read_link(&message), Some(read));
    for end in 0..message.len() {
        read_link(&message[..end]);
    }
    // A length of less than its own header.
    let mut bad = link(7, 0);
    bad.extend([0, 0, 3, 0]);
    assert_eq!(read_link(&bad), None);
    let header = |length: u32| [length.to_ne_bytes().to_vec(), vec![0; 12]].concat();
    assert!(split(&header(15)).is_none() && split(&header(17)).is_none());
    assert_eq!(split(&header(16)).map(|(_, _, body, next)| (body.len(), next.len())), Some((0, 0)));
}
