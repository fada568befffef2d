//! In a network namespace of its own, against what `ip` says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;

use bowline_lab::Lab;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::*;

/// EEXIST, ENODEV and EOPNOTSUPP.
const EXISTS: i32 = 17;
const GONE: i32 = 19;
const NOT_SUPPORTED: i32 = 95;

#[test]
fn interfaces_come_get_addresses_and_go() {
    let lab = Lab::new("net").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let ip = |args: &[&str]| node.output("ip", args).unwrap();
    // The thread ends in the other namespace.
    let net = std::thread::spawn(move || {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), Some(LinkNameSpaceType::Network)).unwrap();
        Net::open().unwrap()
    });
    let net = net.join().unwrap();
    assert_eq!(net.link("lo").unwrap().map(|link| link.index), Some(1));
    for (name, kind) in [("dummy7", Kind::Dummy), ("bridge7", Kind::Bridge)] {
        assert_eq!(net.link(name).unwrap(), None);
        if let Err(error) = net.add(name, kind) {
            // Some kernels have no dummies.
            assert_eq!((error.errno(), kind), (Some(NOT_SUPPORTED), Kind::Dummy), "{error}");
            continue;
        }
        assert_eq!(net.add(name, kind).unwrap_err().errno(), Some(EXISTS));
        let link = net.link(name).unwrap().unwrap();
        net.set_up(link.index, "ours").unwrap();
        net.set_up(link.index, "").unwrap();
        // Twice: one that is there stays.
        for _ in 0..2 {
            for address in ["169.254.20.10", "fd00::a"] {
                net.add_address(link.index, address.parse().unwrap()).unwrap();
            }
        }
        let said = ip(&["-d", "addr", "show", "dev", name]);
        for part in ["inet 169.254.20.10/32 ", "inet6 fd00::a/128 ", "nodad", "alias ours", ",UP"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(net.link(name).unwrap().unwrap().alias, "ours");
        net.remove(link.index).unwrap();
        assert_eq!(net.remove(link.index).unwrap_err().errno(), Some(GONE));
        assert_eq!(net.link(name).unwrap(), None);
    }
}

/// More interfaces than one message of the kernel holds.
#[test]
fn many_interfaces_are_listed() {
    let lab = Lab::new("net-many").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    std::thread::spawn(move || {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), Some(LinkNameSpaceType::Network)).unwrap();
        let net = Net::open().unwrap();
        (0..200).for_each(|n| net.add(&format!("many{n}"), Kind::Bridge).unwrap());
        let links = net.links().unwrap();
        assert!((0..200).all(|n| links.iter().any(|link| link.name == format!("many{n}"))));
    })
    .join()
    .unwrap();
}
