//! Against the kernel of this machine, so as root.

use super::*;
use bowline_ebpf::features::ALL;

#[test]
fn features_are_tried_and_not_told_by_a_version() {
    // The tests run on kernels that have all of them.
    assert_eq!(features(), ALL);
    // A program that no kernel takes: the word for "there" is not said of anything that is merely asked for.
    assert!(!is_taken(&[call(100_000), set(0, 1), EXIT]));
    assert!(!is_taken(&[]));
}

#[test]
fn a_release_is_read_as_distributions_write_it() {
    for (release, wanted) in [
        ("6.1.0-57-cloud-amd64", (6, 1)),
        ("6.12.117+deb12-cloud-amd64", (6, 12)),
        ("5.15", (5, 15)),
        ("6.18-rc1", (6, 18)),
        ("", (0, 0)),
    ] {
        assert_eq!(version(release), wanted, "{release}");
    }
}
