//! The names of folders.

use super::*;
use crate::Sizes;
use bowline_ebpf::layout::VERSION;

#[test]
fn other_sizes_and_other_layouts_have_other_folders() {
    let sizes = Sizes::default();
    assert!(is_named(LAYOUT, &sizes.folder()));
    for name in ["layout-", "layout-2", "layout-2-", "layout-2-x", "layout-2-0123456g", "layouts", "layout--01234567"] {
        assert!(!is_named(LAYOUT, name), "{name}");
    }
    assert!(!is_named(PACKETS, &sizes.folder()), "folders of packets are others");
    assert!(sizes.folder().starts_with(&format!("layout-{VERSION}-")));
    assert_ne!(sizes.folder(), Sizes { sockets: 5, ..sizes }.folder());
    assert_ne!(sizes.folder(), Sizes { services: sizes.affinity, affinity: 5, ..sizes }.folder());
}
