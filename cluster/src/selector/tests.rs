#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

#[test]
fn selects_as_kubectl_does() {
    let web = [("app", "web"), ("empty", ""), ("tier", "front")].map(|(key, value)| (Str::from(key), Str::from(value)));
    // Selector, whether it selects `web`, and what has no labels.
    for (text, fits, fits_bare) in [
        ("", true, true),
        ("app=web", true, false),
        ("app==web", true, false),
        ("app = web , tier=front", true, false),
        ("app=db", false, false),
        ("app!=web", false, true),
        ("app!=db", true, true),
        ("app in (db, web)", true, false),
        ("app in (db)", false, false),
        ("app notin (db,web)", false, true),
        ("app", true, false),
        ("!app", false, true),
        ("!other,app in (web),tier!=back", true, false),
        ("empty=", true, false),
        ("other=", false, false),
    ] {
        let selector: Selector = text.parse().unwrap();
        assert_eq!((selector.fits_labels(&web), selector.fits_labels(&[])), (fits, fits_bare), "{text}");
        assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector, "{text}");
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for text in ["a in (b", "a)b(", "a of (b)", "in (b)", "a b", "=b", "a=b c", "-a", "a in (b)c", "a/b/c=d"] {
        assert!(text.parse::<Selector>().is_err(), "{text}");
    }
}
