//! The command lines of CoreDNS's and node-cache's manifests work as they are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn translated(line: &str) -> String {
    let args = with_two_dashes(line.split(' ').map(OsString::from));
    args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_with_one_dash_are_taken_where_coredns_has_them() {
    assert_eq!(translated("bowline dns -conf /etc/coredns/Corefile"), "bowline dns --conf /etc/coredns/Corefile");
    assert_eq!(translated("bowline dns -dns.port=1053 -p 5"), "bowline dns --dns.port=1053 -p 5");
    assert_eq!(translated("bowline node -localip 169.254.20.10 -v 2"), "bowline node --localip 169.254.20.10 -v 2");
    assert_eq!(translated("bowline get -conf x"), "bowline get -conf x");
}
