//! The plain reader and serde-saphyr must read the same, whatever the plain reader accepts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use proptest::prelude::*;

use super::super::yaml;
use super::*;

/// Both read it alike, or the plain reader declines. Whether it read it.
fn agree(text: &str) -> bool {
    let Some(plain) = read(text.as_bytes()) else { return false };
    match yaml::read(text.as_bytes()) {
        Ok(reference) => assert_eq!(plain.shape(), reference.shape(), "{text}"),
        Err(error) => panic!("{:?} is an error, {}, and the plain reader takes it:\n{text}", error.reason, error.line),
    }
    true
}

#[test]
fn what_machines_write_is_read() {
    let text = "\
---
# Source: chart/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {\"apiVersion\":\"v1\",\"kind\":\"Service\"}

      end
    note: 'it''s \"quoted\"'
    other: \"a \\\"b\\\" # c\"
    strip: |-
      one
        two
  creationTimestamp: 2026-03-01T10:00:00Z   # a comment
  labels: {}
  uid: 3f2b6c1e-7a54-4c0b-9a57-0a1b2c3d4e5f
  empty:
  \"quoted key\": [] # none
spec:
  clusterIPs:
  - 10.96.0.10
  - fd00::10
  ports:
    - name: http
      port: 80
      targetPort: web
    - port: 443
      name: 'https'
  nested:
  - - a
    - b
  -   deep:
        deeper: true
  off: -5
";
    assert!(!agree(text), "`off` is no string");
    assert!(agree(&text.replace("  off: -5\n", "  limit: -5\n")));
}

#[test]
fn scalars_mean_the_same() {
    let words = [
        "true",
        "True",
        "tRUE",
        "yes",
        "Yes",
        "y",
        "N",
        "on",
        "OFF",
        "null",
        "Null",
        "NULL",
        "nULL",
        "~",
        "0",
        "7",
        "42",
        "-1",
        "+1",
        "007",
        "08",
        "1_000",
        "0x1F",
        "0o17",
        "0b1",
        "1.5",
        "1e3",
        "1E3",
        "1e",
        ".5",
        "5.",
        ".inf",
        "-.inf",
        ".nan",
        "nan",
        "inf",
        "infinity",
        "10.0.0.1",
        "10.0",
        "1.2.3",
        "10.96.0.0/12",
        "1:30",
        "2026-03-01",
        "2026-03-01T10:00:00Z",
        "12345678-1234-1234-1234-123456789012",
        "1e5-1",
        "1-1",
        "1+1",
        "100m",
        "1Gi",
        "30s",
        "1d",
        "99999999999999999",
        "999999999999999999999",
        "-99999999999999999999",
        "a",
        "a b",
        "a#b",
        "a:b",
        "a: b",
        "a:",
        "-",
        "--",
        "-a",
        "- a",
        "?",
        "? a",
        ":",
        "::1",
        "fd00::1",
        "=",
        "<<",
        "!",
        "!a",
        "&a",
        "*a",
        "@a",
        "`a",
        "%a",
        "|a",
        ">",
        "{a",
        "[a",
        "]",
        "}",
        ",",
        "_a",
        "/a",
        "$a",
        "^a",
        "\\a",
        "\"a",
        "'a",
        "'a'b",
        "\"a\"b",
        "'a' #b",
        "'a'#b",
        "0a",
        "0e",
        "0e1",
        "0.0.0",
        "1.e1.",
        "1b",
        "0xg",
        "e1",
        "E5",
        "x",
        "1x",
        "infinitely",
        "1inf",
        "0n",
        "5y",
        "3i",
    ];
    let mut read_plain = 0;
    for word in words {
        for text in
            [format!("key: {word}\n"), format!("- {word}\n"), format!("{word}: a\n"), format!("a:\n- {word}\nb: c")]
        {
            read_plain += usize::from(agree(&text));
        }
    }
    assert!(read_plain > 150, "only {read_plain} were read");
}

/// Lines that look like YAML and often aren't.
fn line() -> impl Strategy<Value = String> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c-d/e"), Just("\"q\""), Just("'s'"), Just("80"), Just("yes")];
    let scalar = proptest::sample::select(vec![
        "", " x", "", " x", " 'x'", " \"x\"", " 80", " {}", " []", " |", " |-", " true", " # c", " x # c", " 'it''s'",
        " \"\\n\"", " a b ", " 'open", " 1.5", " [a]", " *x", " >",
    ]);
    prop_oneof![
        8 => (0..4usize, 0..3usize, key, scalar.clone()).prop_map(|(indent, dashes, key, scalar)| {
            format!("{}{}{key}:{scalar}", "  ".repeat(indent), "- ".repeat(dashes))
        }),
        2 => (0..4usize, scalar).prop_map(|(indent, scalar)| format!("{}-{scalar}", "  ".repeat(indent))),
        1 => prop_oneof![Just(""), Just("   "), Just("# c"), Just("   # c"), Just("   text"), Just("---"), Just("...")]
            .prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn lines_in_any_order_mean_the_same(lines in proptest::collection::vec(line(), 1..7), end in any::<bool>()) {
        agree(&(lines.join("\n") + if end { "\n" } else { "" }));
    }

    #[test]
    fn scalars_of_any_characters_mean_the_same(text in "[-+.:#0-9eExo_ abft'\"{}\\[\\]|>&*!%@,?~/TZ\\\\]{1,8}") {
        agree(&format!("key: {text}\n"));
        agree(&format!("- {text}\nx: y\n"));
        agree(&format!("{text}: 1\n"));
        agree(&format!("a:\n  b: |\n    {text}\n   {text}\n\n  c: {text}"));
    }

    #[test]
    fn bytes_of_any_kind_are_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            agree(text);
        }
        let _ = read(&bytes);
    }
}
