//! The cuts, and that they are the same however the text comes in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use proptest::prelude::*;

use super::*;

type Cut = (String, u32, u32, bool);

/// Cuts a text that comes in parts of so many bytes.
fn cut_in(text: &str, step: usize) -> Result<(Vec<Cut>, BTreeMap<u32, Envelope>), Fault> {
    let mut splitter = Splitter::new(Format::of(text.as_bytes()));
    let (mut from, mut to) = (0, 0);
    let mut cuts = Vec::new();
    loop {
        to = (to + step).min(text.len());
        let last = to == text.len();
        let mut pieces = Vec::new();
        let window = &text.as_bytes()[from..to];
        let done = splitter.split(window, last, &mut pieces)?;
        for piece in pieces {
            assert!(piece.bytes.end <= done || last, "{piece:?} of {done}");
            let bytes = String::from_utf8_lossy(&window[piece.bytes]).into_owned();
            cuts.push((bytes, piece.line, piece.document, piece.item));
        }
        from += done;
        if last {
            return Ok((cuts, splitter.lists));
        }
    }
}

fn cut(text: &str) -> Vec<(String, u32)> {
    let (whole, _) = cut_in(text, text.len().max(1)).unwrap();
    whole.into_iter().map(|(text, line, ..)| (text, line)).collect()
}

fn pieces(pieces: &[(&str, u32)]) -> Vec<(String, u32)> {
    pieces.iter().map(|(text, line)| (text.to_string(), *line)).collect()
}

#[test]
fn yaml_is_cut_at_its_markers() {
    assert_eq!(
        cut("a: 1\n---\nb: 2\n--- # two\nc: 3"),
        pieces(&[("a: 1\n", 0), ("---\nb: 2\n", 1), ("--- # two\nc: 3", 3)])
    );
    assert_eq!(cut("# head\n---\na: 1\n...\n# tail\n"), pieces(&[("# head\n---\na: 1\n...\n", 0)]));
    assert_eq!(cut("%YAML 1.2\n---\na: 1\n"), pieces(&[("%YAML 1.2\n---\na: 1\n", 0)]));
    assert_eq!(cut("---\n---\n\n---\na: ---\n----: b\n"), pieces(&[("---\na: ---\n----: b\n", 3)]));
    assert_eq!(cut("a: |\n  ---\n"), pieces(&[("a: |\n  ---\n", 0)]));
    assert_eq!(cut("--- {a: 1}\n--- {b: 2}\n"), pieces(&[("--- {a: 1}\n", 0), ("--- {b: 2}\n", 1)]));
    assert_eq!(cut(""), []);
}

#[test]
fn a_yaml_list_is_cut_into_its_items() {
    for indent in ["", "  "] {
        let text = format!(
            "apiVersion: v1\nitems:\n# first\n{indent}- a: 1\n{indent}  b:\n{indent}  - c\n{indent}- a: 2\nkind: List\nmetadata:\n  x: y\n---\na: 3\n"
        );
        let (cuts, lists) = cut_in(&text, text.len()).unwrap();
        let texts: Vec<_> = cuts.iter().map(|(text, line, _, item)| (text.as_str(), *line, *item)).collect();
        assert_eq!(
            texts,
            [
                (format!("{indent}- a: 1\n{indent}  b:\n{indent}  - c\n").as_str(), 3, true),
                (format!("{indent}- a: 2\n").as_str(), 6, true),
                ("---\na: 3\n", 10, false),
            ]
        );
        assert_eq!((&*lists[&0].kind, &*lists[&0].version), ("List", "v1"));
    }
}

#[test]
fn json_is_cut_into_objects_and_items() {
    assert_eq!(
        cut("{\"a\": \"}\\\"\"}\n\n{\"b\": [1, {}]}"),
        pieces(&[("{\"a\": \"}\\\"\"}", 0), ("{\"b\": [1, {}]}", 2)])
    );
    let text =
        "{\"kind\": \"PodList\",\n \"items\": [\n  {\"a\": [1]},\n  {\"b\": 2}],\n \"apiVersion\": \"v1\"}\n{\"c\": 1}";
    let (cuts, lists) = cut_in(text, text.len()).unwrap();
    let texts: Vec<_> = cuts.iter().map(|(text, line, _, item)| (text.as_str(), *line, *item)).collect();
    assert_eq!(texts, [("{\"a\": [1]}", 2, true), ("{\"b\": 2}", 3, true), ("{\"c\": 1}", 5, false)]);
    assert_eq!((&*lists[&0].kind, &*lists[&0].version), ("PodList", "v1"));
}

#[test]
fn what_is_no_json_is_told_with_its_line() {
    for (text, line) in [("{\"a\": 1}\n]", 1), ("{\"a\": 1", 0), ("{\n\"items\": [\n{\"a\": 1}\n", 3), ("{a: 1}", 0)] {
        assert_eq!(cut_in(text, text.len()).unwrap_err().line, line, "{text}");
    }
}

fn part() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "---\n",
        "...\n",
        "a: 1\n",
        "items:\n",
        "- a\n",
        "  - b\n",
        "kind: List\n",
        "\n",
        "# c\n",
        "  x: y\n",
        "%YAML 1.2\n",
        "--- z\n",
    ])
}

fn json_part() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"items\"",
        ":",
        ",",
        "\"a\\\"{\"",
        "\n",
        "12",
        "\"items\":[",
        "{\"a\":1}",
        "\"kind\":\"List\"",
    ])
}

proptest! {
    #[test]
    fn the_cuts_do_not_depend_on_the_windows(parts in proptest::collection::vec(part(), 0..14), step in 1..20usize) {
        let text = parts.concat();
        prop_assert_eq!(cut_in(&text, step).ok(), cut_in(&text, text.len().max(1)).ok());
    }

    #[test]
    fn nor_do_those_of_json(parts in proptest::collection::vec(json_part(), 0..14), step in 1..20usize) {
        let text = format!("{{{}", parts.concat());
        prop_assert_eq!(cut_in(&text, step).ok(), cut_in(&text, text.len()).ok());
    }
}
