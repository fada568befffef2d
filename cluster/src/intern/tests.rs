//! Sharing and dropping.

use super::*;

#[test]
fn the_same_text_is_stored_once() {
    let strings = Strings::default();
    let (a, b) = (strings.get("zone-a"), strings.get("zone-a"));
    assert!(Str::ptr_eq(&a, &b));
    assert_eq!(strings.len(), 1);
}

#[test]
fn what_nobody_holds_is_dropped() {
    let strings = Strings::default();
    let kept = strings.get("kept");
    for n in 0..100_000 {
        strings.get(&format!("gone-{n}"));
    }
    assert!(strings.len() <= 2 * PARTS * SWEEP_FROM, "{} strings stayed", strings.len());
    strings.sweep();
    assert_eq!(strings.len(), 1);
    assert!(Str::ptr_eq(&kept, &strings.get("kept")));
}
