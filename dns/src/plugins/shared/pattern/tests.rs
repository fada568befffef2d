//! What Go's syntax takes, and what it means there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn patterns_mean_what_they_mean_in_go() {
    for (pattern, text, matches) in [
        (r"(.*)-(us-west-1)\.example\.org", "ftp-us-west-1.example.org.", true),
        (r"^ip0a(?P<b>[a-f0-9]{2})[.]example[.]$", "ip0aff.example.", true),
        (r"a{", "a{", true),
        (r"a{,2}", "a{,2}", true),
        (r"a{2}$", "aa", true),
        (r"\Qa.b\E$", "axb", false),
        (r"\Qa.b\E$", "a.b", true),
        (r"[[]", "[", true),
        (r"[]a]", "]", true),
        (r"[a&&b]", "&", true),
        (r"[+--]", ",", true),
        (r"[[:digit:]]\d", "12", true),
        (r"^[\w.]+$", "a_1.b", true),
        (r"^[^\d]$", "5", false),
        (r"^[\D]$", "5", false),
        (r"\<a\>", "<a>", true),
        (r"\101", "A", true),
        (r"\bexample\b", "x.example.org", true),
        (r"^(?i)ABC\.", "abc.", true),
    ] {
        assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} on {text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (pattern, why) in [
        ("(", "unclosed group"),
        ("a**b\\", "ends with a backslash"),
        (r"\C", "\\C (one byte)"),
        (r"(a)\1", "refers to a group"),
        (r"(?=a)", "look-around"),
        ("[a", "unclosed character class"),
    ] {
        let wrong = compile(pattern).unwrap_err();
        assert!(wrong.to_string().contains(why) && wrong.to_string().contains("is no regular expression"), "{wrong}");
    }
    assert!(compile(&"a".repeat(10_001)).unwrap_err().to_string().contains("at most 10000"));
    // A small pattern that would become a huge machine.
    assert!(compile("((a{100}){100}){100}").unwrap_err().to_string().contains("size limit"));
}
