use super::*;

#[test]
fn lines_are_apart_by_their_stamps_over_midnight_too() {
    let line = |stamp: &str| Line::parse(&format!(r#"{{"timestamp":"{stamp}","message":"x","n":7}}"#));
    let (Some(a), Some(b), Some(c)) =
        (line("2026-03-01T23:59:59.999000Z"), line("2026-03-01T23:59:59.999250Z"), line("2026-03-02T00:00:01.000000Z"))
    else {
        unreachable!("these are lines");
    };
    assert!((a.until(&b) - 0.25).abs() < 1e-9);
    assert!((a.until(&c) - 1001.0).abs() < 1e-9);
    assert_eq!(a.number("n").ok(), Some(7));
    assert!(a.number("m").is_err());
    assert!(Line::parse("thread 'main' panicked").is_none());
}
