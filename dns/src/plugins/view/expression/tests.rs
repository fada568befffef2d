//! The language: the fragments of CoreDNS's page, and what expr-lang's documentation says of each operator.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::address::Transport;
use crate::plugins::asker::{Asker, question, with_edns};
use crate::wire::Message;

fn holds_for(expression: &str, message: &Message, from: &str, transport: Transport) -> bool {
    let mut query = Asker::new(". {\n whoami\n}").query(message, from, transport);
    query.metadata.insert("test/label".into(), "success".into());
    Expression::parse(expression).unwrap_or_else(|wrong| panic!("{expression}: {wrong}")).is_true(&query)
}

fn holds(expression: &str) -> bool {
    holds_for(expression, &question("ABC.x.example.com.", "A"), "10.1.2.3:4000", Transport::Udp)
}

#[test]
fn questions_have_functions() {
    for expression in [
        "name() == 'abc.x.example.com.'",
        r"name() matches '^abc\\..*\\.example\\.com\\.$'",
        "type() in ['A', 'AAAA']",
        "(type() == 'A' && name() == 'abc.x.example.com.') || client_ip() == '1.2.3.4'",
        "incidr(client_ip(), '10.0.0.0/8') and not incidr(client_ip(), '10.2.0.0/16')",
        "class() == 'IN' && opcode() == 0 && id() == 7",
        "client_ip() == '10.1.2.3' && port() == '4000'",
        "server_ip() == '127.0.0.1' && server_port() == '53'",
        "proto() == 'udp' && bufsize() == 512 && !do()",
        "size() == 35",
        "metadata('test/label') == 'success' && metadata('none/such') == ''",
    ] {
        assert!(holds(expression), "{expression}");
    }
    let edns = with_edns("a.", "TXT");
    assert!(holds_for("bufsize() == 1232 && type() == 'TXT'", &edns, "[2001:db8::1]:5", Transport::Udp));
    assert!(holds_for("client_ip() == '2001:db8::1' && bufsize() == 65535", &edns, "[2001:db8::1]:5", Transport::Tcp));
    assert!(holds_for("proto() == 'tcp' && size() > 20", &edns, "10.0.0.1:5", Transport::Tls));
}

#[test]
fn operators_mean_what_they_mean_in_expr() {
    for expression in [
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "2 ** 3 ** 2 == 512 && 2 ^ 2 == 4.0",
        "-2 ** 2 == -4 and 7 % 4 == 3 and 1 / 2 == 0.5",
        "0x2A == 42 && 0b101 == 5 && 0o17 == 15 && 1_000 == 1000 && .5 == 0.5 && 1e3 == 1000",
        "not false && !false and (false or true)",
        "1 < 2 and 2 <= 2 and 3 > 2 and 'a' < 'b' && 1 != 2 && 1.0 == 1",
        "'abc' contains 'b' && 'abc' startsWith 'a' && 'abc' endsWith 'c'",
        "'abc' not contains 'x' && 1 not in [2, 3] && 'a' not matches '^b'",
        "'foo' + 'bar' == \"foobar\" && `raw\\n` == 'raw\\\\n' && '\\u0041\\x42' == 'AB'",
        "1 > 2 ? false : true",
        "nil ?? true",
        "(first([]) ?? 'none') == 'none'",
        "2 in 1..3 && 1..3 == [1, 2, 3] && 5 not in 1..3",
        "[1, 2, 3][0] == 1 && [1, 2, 3][-1] == 3 && [1, 2, 3][1:] == [2, 3] && [1, 2, 3][:-1] == [1, 2]",
        "'hello'[1:3] == 'el'",
        "' A,b ' | trim() | lower() | split(',') == ['a', 'b']",
        "let x = 42; let y = x + 1; y == 43",
        "all(1..3, # > 0) && any([1, 2], {# == 2}) && none(1..3, # > 3)",
        "count(1..10, # % 2 == 0) == 5 && filter(1..4, # > 2) == [3, 4] && map(1..2, # * 2) == [2, 4]",
        "let n = split('a.b.c', '.'); len(n) == 3 && join(n, '-') == 'a-b-c' && last(n) == 'c'",
        "upper('a') == 'A' && trimPrefix('ab', 'a') == 'b' && trimSuffix('ab', 'b') == 'a' && trim('_a_', '_') == 'a'",
        "replace('aXa', 'X', 'b') == 'aba' && indexOf('abc', 'c') == 2 && lastIndexOf('aba', 'z') == -1",
        "hasPrefix('ab', 'a') && hasSuffix('ab', 'b') && int('7') == 7 && string(7) == '7'",
        "abs(-3) == 3 && min(1, 2) == 1 && max(1, 2.5) == 2.5 && len('héé') == 3",
        "true // a comment",
        "/* one */ true",
        "[1, 2,] == [1, 2]",
    ] {
        assert!(holds(expression), "{expression}");
    }
}

#[test]
fn what_goes_wrong_when_it_runs_is_false() {
    for expression in [
        "incidr('invalid', '1.2.3.0/24')",
        "incidr(client_ip(), metadata('none/such'))",
        "[true][5]",
        "int('x') == 1 || true",
        "1 % 0 == 0",
        "len(1..100000) > 0",
        "any(1..9999, any(1..9999, # < 0))",
        "name() matches metadata('test/label') + '('",
        "first([])",
    ] {
        assert!(!holds(expression), "{expression}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (expression, why) in [
        ("", "column 1: a value is expected here"),
        ("invalid expression", "column 1: there is nothing called invalid"),
        ("name", "column 1: name is a function; write name()"),
        ("naem() == 'a'", "there is no function naem; did you mean name?"),
        ("name() == 'a", "column 11: the text has no closing quote"),
        ("name() = 'a'", "column 8: = is not expected here"),
        ("name() == 5", "column 8: == can't take text and a whole number"),
        ("1", "it is a whole number, not true or false"),
        ("name()", "it is text, not true or false"),
        ("name() && true", "&& takes truth values, not text"),
        ("do() + 1 == 1", "+ can't take a truth value and a whole number"),
        ("incidr(client_ip())", "incidr takes 2 values, has 1"),
        ("incidr(client_ip(), '10.0.0.0/33')", "column 21: \"10.0.0.0/33\" is no network"),
        ("incidr(5, '10.0.0.0/8')", "incidr takes an address as text, not a whole number"),
        ("name() matches '('", "is no regular expression"),
        ("name() matches '\\.'", "\\. is no escape; write \\\\"),
        ("type() in 'A'", "in takes a list, not text"),
        ("now() > 1", "now is known from expr, but not supported here"),
        ("{a: 1}", "maps are known from expr"),
        ("b'x' == b'x'", "bytes (b\"…\") are known from expr"),
        ("name().foo", "fields are known from expr"),
        ("if true {1} else {2}", "if is known from expr"),
        ("1 < 2 < 3", "join them by and"),
        ("# > 1", "# is an item of a list"),
        ("$env['x']", "there is nothing called $env"),
        ("(true", ") is expected here, not the end"),
        ("1a", "1 is no number"),
        ("true ~ false", "'~' has no meaning here"),
        ("not 5", "not takes a truth value, not a whole number"),
        ("true ? 1 : 2", "it is a whole number"),
    ] {
        let wrong = Expression::parse(expression).unwrap_err().to_string();
        assert!(wrong.contains(why), "{expression}: {wrong}");
    }
    for deep in ["(".repeat(10_000), "!".repeat(10_000), "[".repeat(10_000), "let a=1;".repeat(10_000)] {
        assert!(Expression::parse(&deep).unwrap_err().to_string().contains("levels"));
    }
    let long = "true or ".repeat(10_000) + "true";
    assert!(Expression::parse(&long).unwrap_err().to_string().contains("parts"));
}

proptest::proptest! {
    #[test]
    fn no_expression_makes_it_panic(
        text in "[-a-c0-9 '\"()#.,:;?=<>!&|+*/%^`{}é\\[\\]\\\\]{0,30}",
        words in "(name\\(\\)|'a'|1|2\\.5|\\[1\\]|-9223372036854775808|not|in|and|\\.\\.|\\+|\\*|%|\\?\\?|\\?|:|==|<|\\||len|\\(|\\)|\\[|\\]| ){0,12}",
    ) {
        let query = Asker::new(". {\n whoami\n}").query(&question("a.", "A"), "10.0.0.1:5", Transport::Udp);
        for text in [text, words] {
            if let Ok(expression) = Expression::parse(&text) {
                expression.is_true(&query);
            }
        }
    }
}
