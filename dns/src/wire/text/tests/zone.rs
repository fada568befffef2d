//! Zone files: directives, and what a line takes from the lines before it.
use std::fs;

use crate::wire::text::zone::Records;
use crate::wire::{Name, Type};

fn read(text: &str) -> Vec<String> {
    let origin = Name::parse("example.org").unwrap();
    Records::from_text(text.as_bytes(), "db.example.org", &origin)
        .map(|record| record.map_or_else(|problem| problem.to_string(), |record| record.to_string().replace('\t', " ")))
        .collect()
}

#[test]
fn rfc1035_5_1_owners_parentheses_and_comments() {
    let text = "$TTL 3600\n\
        @ IN SOA ns1 admin.example.org. ( ; the zone\n  1 ; serial\n  2h 1h 2w 5m )\n\
        \t IN NS ns1 ; a line with a blank has the owner above\n\
        \n ; nothing here\n\
        ns1 A 192.0.2.1\r\n\
        ns1.other. 60 A 192.0.2.2\n\
        * IN 30 TXT \"a;b\" c\\;d \"\"";
    assert_eq!(
        read(text),
        [
            "example.org. 3600 IN SOA ns1.example.org. admin.example.org. 1 7200 3600 1209600 300",
            "example.org. 3600 IN NS ns1.example.org.",
            "ns1.example.org. 3600 IN A 192.0.2.1",
            "ns1.other. 60 IN A 192.0.2.2",
            "*.example.org. 30 IN TXT \"a;b\" \"c;d\" \"\"",
        ]
    );
}

#[test]
fn rfc2308_4_ttl_is_of_the_directive_or_the_last_one_written() {
    assert_eq!(
        read("a 60 A 1.1.1.1\nb A 1.1.1.2"),
        ["a.example.org. 60 IN A 1.1.1.1", "b.example.org. 60 IN A 1.1.1.2"]
    );
    assert_eq!(
        read("$TTL 1d\na 60 A 1.1.1.1\nb A 1.1.1.2"),
        ["a.example.org. 60 IN A 1.1.1.1", "b.example.org. 86400 IN A 1.1.1.2"]
    );
    // As CoreDNS reads it: without any TTL, a record that names its class has 0.
    assert_eq!(read("a IN A 1.1.1.1"), ["a.example.org. 0 IN A 1.1.1.1"]);
    assert_eq!(read("a A 1.1.1.1"), ["db.example.org:1: no TTL: write one, or $TTL above"]);
}

#[test]
fn rfc1035_5_1_origin_moves_relative_names() {
    let text = "$TTL 60\n$ORIGIN sub\na CNAME @\n$ORIGIN example.net.\nb CNAME c";
    assert_eq!(
        read(text),
        ["a.sub.example.org. 60 IN CNAME sub.example.org.", "b.example.net. 60 IN CNAME c.example.net."]
    );
}

#[test]
fn generate_writes_lines_with_numbers() {
    let text =
        "$GENERATE 1-5/2 host-${10,3,d} A 10.0.0.$\n$GENERATE 254-255 $ 60 TXT \"${0,4,x} $$ \\$\"\nlast 5 A 1.1.1.1";
    assert_eq!(
        read(text),
        [
            "host-011.example.org. 3600 IN A 10.0.0.1",
            "host-013.example.org. 3600 IN A 10.0.0.3",
            "host-015.example.org. 3600 IN A 10.0.0.5",
            "254.example.org. 60 IN TXT \"00fe $ $\"",
            "255.example.org. 60 IN TXT \"00ff $ $\"",
            "last.example.org. 5 IN A 1.1.1.1",
        ]
    );
    for range in ["5-1", "1", "1-5/0", "0-65536", "a-b", "-1-5", "1-2/x"] {
        let problems = read(&format!("$GENERATE {range} a$ A 10.0.0.$"));
        assert!(problems[0].contains("is no range"), "{problems:?}");
    }
    assert!(read("$GENERATE 1-2 a${0 A 10.0.0.$")[0].contains("isn't closed"));
    assert!(read("$GENERATE 1-2 a${0,0,y} A 10.0.0.$")[0].contains("is malformed"));
    assert!(read("$GENERATE 1-2 a${-2,0,d} A 10.0.0.$")[0].contains("is malformed"));
}

#[test]
fn include_reads_a_file_beside_with_an_origin_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("db"), "$TTL 60\n$INCLUDE more sub\nb A 1.1.1.2\n$INCLUDE missing").unwrap();
    fs::write(path("more"), "a A 1.1.1.1\n$ORIGIN elsewhere.\n$TTL 5\nc A 1.1.1.3").unwrap();
    let origin = Name::parse("example.org").unwrap();
    let mut records = Records::open(&path("db"), &origin).unwrap();
    let names: Vec<_> = records.by_ref().take(3).map(|record| record.unwrap().to_string().replace('\t', " ")).collect();
    assert_eq!(
        names,
        ["a.sub.example.org. 60 IN A 1.1.1.1", "c.elsewhere. 5 IN A 1.1.1.3", "b.example.org. 60 IN A 1.1.1.2"]
    );
    assert_eq!(records.files(), [path("db"), path("more")]);
    let problem = records.next().unwrap().unwrap_err();
    assert_eq!((problem.line, problem.message.contains("missing")), (4, true));
    assert!(records.next().is_none());

    fs::write(path("loop"), "$INCLUDE loop").unwrap();
    let problem = Records::open(&path("loop"), &origin).unwrap().next().unwrap().unwrap_err();
    assert!(problem.message.contains("more than 7 deep"), "{problem}");
    assert!(Records::open(&path("none"), &origin).is_err());
}

#[test]
fn errors_tell_file_and_line() {
    for (text, problem) in [
        ("a 5 A 1.1.1.1\n\nb 5 A 1.1.1.x", "db.example.org:3: A: \"1.1.1.x\" is no IPv4 address"),
        ("a 5 SOA ( a b\n1 2", "db.example.org:1: \"(\" isn't closed"),
        ("a 5 A )", "db.example.org:1: \")\" without \"(\""),
        ("\n\na 5 TXT \"open", "db.example.org:3: a quote isn't closed"),
        (" 5 A 1.1.1.1", "db.example.org:1: the first record begins with a blank, so its owner is unknown"),
        ("a 5 WHAT 1.1.1.1", "db.example.org:1: \"WHAT\" is no type, class or TTL"),
        ("a 5 IN", "db.example.org:1: the record ends before its type"),
        ("a 5 MX 10", "db.example.org:1: MX: the name is missing"),
        ("a 5 A 1.1.1.1 2", "db.example.org:1: A: \"2\" is one word too many"),
        ("a..b 5 A 1.1.1.1", "db.example.org:1: owner \"a..b\": the name has an empty label"),
        ("$NOPE", "db.example.org:1: unknown directive $NOPE; known are $ORIGIN, $TTL, $INCLUDE and $GENERATE"),
        ("$TTL never", "db.example.org:1: \"never\" is no TTL"),
    ] {
        assert_eq!(read(text).last().unwrap(), problem, "{text}");
    }
}

#[test]
fn a_default_ttl_may_be_given() {
    let origin = Name::root();
    let mut records = Records::from_text(&b"a A 1.1.1.1"[..], "x", &origin).with_default_ttl(9);
    let record = records.next().unwrap().unwrap();
    assert_eq!((record.ttl, record.rtype), (9, Type::A));
}
