//! Pods' packets in real namespaces: a node with two pods, and another node that stands for the world. By tcx, and once more
//! by filters, as on a kernel without tcx.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its ground is missing")]

mod errors;
mod ground;
mod host_ports;
mod masquerade;
mod sctp;
mod sums;
mod tunnel;
mod ways;

use std::process::Command;

/// All tests of this file, on a kernel that pretends to be older than tcx. One that is has shown it already.
#[test]
fn the_same_by_filters() {
    const VERSION: &str = "BOWLINE_KERNEL_VERSION";
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').take(2).map(|number| number.parse().unwrap()).collect();
    if std::env::var_os(VERSION).is_some() || version < vec![6, 6] {
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let out = tests.env(VERSION, "6.1").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("0 filtered out"), "{said}");
}
