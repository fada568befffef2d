//! The grammar, as CoreDNS 1.14.7 has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;

use super::{Corefile, CorefileError, Directive, parse};

mod bounds;
mod imports;

fn env(name: &str) -> Option<String> {
    match name {
        "ZONE" => Some("example.org".to_string()),
        "PORT" => Some("5300".to_string()),
        "TWO" => Some("a b".to_string()),
        "BRACE" => Some("{".to_string()),
        "INDIRECT" => Some("{$ZONE}".to_string()),
        "SELF" => Some("x{$SELF}".to_string()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Corefile, CorefileError> {
    parse(text, "Corefile", Path::new(""), &env)
}

/// The blocks in a short form: `keys: directive args {lines}; …`, one block a line.
fn short(corefile: &Corefile) -> String {
    fn line(directive: &Directive, text: &mut String) {
        text.push_str(&directive.name);
        for arg in &directive.args {
            write!(text, " {arg}").unwrap();
        }
        if let Some(body) = &directive.body {
            text.push_str(" {");
            for directive in body {
                line(directive, text);
                text.push_str("; ");
            }
            text.push('}');
        }
    }
    let mut text = String::new();
    for block in &corefile.blocks {
        let keys: Vec<&str> = block.keys.iter().map(|key| key.text.as_str()).collect();
        write!(text, "{}:", keys.join(" ")).unwrap();
        for directive in &block.directives {
            text.push(' ');
            line(directive, &mut text);
            text.push(';');
        }
        text.push('\n');
    }
    text
}

#[track_caller]
fn is(text: &str, expected: &str) {
    assert_eq!(short(&read(text).unwrap()).trim_end(), expected, "{text}");
}

#[track_caller]
fn is_refused(text: &str, told: &str) {
    assert_eq!(read(text).unwrap_err().to_string(), told, "{text}");
}

#[test]
fn blocks_and_directives() {
    is(".:53 {\n    errors\n    cache 30\n}\n", ".:53: errors; cache 30;");
    is("a {\nlog\n}\nb {\n}", "a: log;\nb:");
    is("a b,\nc {\nlog\n}", "a b c: log;");
    is("a\n{\nlog\n}", "a: log;");
    is("a { log\nerrors\n}", "a: log; errors;");
    is("a\nlog\nerrors", "a: log; errors;");
    is("a", "a:");
    is("a {\n} b {\n}", "a:\nb:");
    is(
        ". {\nforward . 10.0.0.1 {\n  max_fails 3\n  tls\n}\nforward x 10.0.0.2\n}",
        ".: forward . 10.0.0.1 {max_fails 3; tls; }; forward x 10.0.0.2;",
    );
    is(". {\nhealth { lameduck 5s\n}\n}", ".: health {lameduck 5s; };");
    is(". {\nhealth { lameduck 5s }\n}", ".: health {lameduck 5s; };");
    is(". {\na {\nb {\nc d\n}\n}\n}", ".: a {b {c d; }; };");
    is(". {\nhealth {\n}\n}", ".: health {};");
}

#[test]
fn words() {
    is("\u{feff}. {\r\nlog\r\n}\r\n", ".: log;");
    is(". { # {\n# log\nlog # a b\nerrors#x\n}", ".: log; errors;");
    is(". {\nlog \"a b\" \"\" c\"d\"\n}", ".: log a b  c\"d\";");
    is(". {\nlog \"a \\\"b\\\" \\n \\\\\"\n}", ".: log a \"b\" \\n \\\\;");
    is(". {\nlog \"a\nb\" c\nerrors\n}", ".: log a\nb c; errors;");
    is(". {\nlog \"#\" a#b\n}", ".: log # a;");
    is(". {\nlog a\u{a0}b\u{2003}c\u{b}d\u{c}e\n}", ".: log a b c d e;");
    is(
        ". {\ntemplate {\nanswer \"{{ .Name }} 60 IN A 10.0.0.1\"\nmatch ^a{1,3}$ {}\n}\n}",
        ".: template {answer {{ .Name }} 60 IN A 10.0.0.1; match ^a{1,3}$ {}; };",
    );
    let corefile = read("# x\n. {\n\nlog \"a\nb\"\nforward . {\nx\n}\n}").unwrap();
    let block = &corefile.blocks[0];
    assert_eq!(block.keys[0].place.to_string(), "Corefile:2");
    assert_eq!(block.directives[0].place.line, 4);
    assert_eq!(block.directives[1].place.line, 6);
    assert_eq!(block.directives[1].body()[0].place.line, 7);
}

#[test]
fn a_comment_glued_to_a_word_ends_at_the_next_space() {
    let corefile = read(". {\nlog a#b c\nerrors#\n}").unwrap();
    assert_eq!(short(&corefile).trim_end(), ".: log a c; errors;");
    assert_eq!(corefile.warnings.len(), 1);
    assert_eq!(corefile.warnings[0].place.line, 2);
}

#[test]
fn environment() {
    is(
        "{$ZONE}:{%PORT%} {\nlog {$ZONE} {$TWO} x{$PORT}y{$PORT}\n}",
        "example.org:5300: log example.org a b x5300y5300;",
    );
    is("{$INDIRECT} {\n{$ZONE}\n}", "example.org: example.org;");
    is(". {\nlog {$BRACE} {$} {%} {$OPEN\n}", ".: log { {$} {%} {$OPEN;");
    let corefile = read(". {\nlog {$UNSET}\n}").unwrap();
    assert_eq!(corefile.blocks[0].directives[0].args, [""]);
    assert_eq!(
        corefile.warnings[0].to_string(),
        "Corefile:2: the environment variable UNSET is not set; nothing stands in its place"
    );
    is_refused(
        ". {\nlog {$SELF}\n}",
        "Corefile:2: more than 100 environment variables in one word; does one name itself?",
    );
    is("a {$UNSET} b {\n}", "a b:");
    is_refused("{$UNSET}\na {\n}", "Corefile:1: a server block begins with a zone; write one before the {");
    is_refused("{$UNSET} {\nlog\n}", "Corefile:1: a server block begins with a zone; write one before the {");
}

#[test]
fn refusals_say_where_and_what_to_do() {
    let block = "holds no server block; write one such as .:53 { forward . /etc/resolv.conf }";
    is_refused("", &format!("Corefile:1: {block}"));
    is_refused("# only\n", &format!("Corefile:1: {block}"));
    is_refused("(a) {\nlog\n}\n", &format!("Corefile:1: {block}"));
    is_refused(". {\nlog\n", "Corefile:1: the { of this server block is never closed: add a }");
    is_refused(". {\nhealth {\nlameduck 5s\n", "Corefile:2: health: its { is never closed: add a }");
    is_refused(". {\nlog }\n", "Corefile:2: log: this } must be on a line of its own");
    is_refused(". {\nhealth {\n} x\n}", "Corefile:3: health: what follows here must be on a line of its own");
    is_refused(
        ". {\nlog\n{\nclass error\n}\n}",
        "Corefile:3: this { has no directive before it; put it at the end of the directive's line",
    );
    is_refused(
        ". {\nlog {\n{\n}\n}\n}",
        "Corefile:3: log: this { has no option before it; put it at the end of the option's line",
    );
    is_refused("a, {\nlog\n}", "Corefile:1: a { follows a comma; remove the comma, or write another zone");
    is_refused("a,", "Corefile:1: the file ends after a comma; remove it, or write another zone");
    is_refused("a {\n}\n}", "Corefile:3: this } closes nothing; remove it");
    is_refused("a\nlog\n}", "Corefile:3: this } closes nothing; remove it, or write a { before");
    is_refused("{\nlog\n}", "Corefile:1: a server block begins with a zone; write one before the {");
    is_refused(". {\nlog \"a\n}\n", "Corefile:2: the quote that begins here is never closed: add a \"");
    is_refused("a.b{\nlog\n}", "Corefile:1: a.b{: put a space before the {");
    is_refused("\na:99999 {\n}", "Corefile:2: a:99999: the port 99999 is not one from 0 to 65535");
}
