//! The language: what Go's documentation of text/template says of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use super::*;

struct Sample;

impl Subject for Sample {
    fn field(&self, of: Thing, name: &str) -> Option<Value> {
        let text = |text: &str| Value::Text(text.into());
        Some(match (of, name) {
            (Thing::Root, "Name") => text("www.example.org."),
            (Thing::Root, "Type") => text("A"),
            (Thing::Root, "Match") => Value::List(["all", "1", ""].map(text).to_vec()),
            (Thing::Root, "Group") => {
                Value::Map(BTreeMap::from([("a".to_owned(), text("ff")), ("b".to_owned(), text("x"))]))
            }
            (Thing::Root, "Question") => Value::Thing(Thing::Question),
            (Thing::Root, "Message") => Value::Thing(Thing::Message),
            (Thing::Message, "Question") => Value::List(vec![Value::Thing(Thing::Question)]),
            (Thing::Message, "RecursionDesired") => Value::Bool(true),
            (Thing::Question, "Name") => text("Www.example.org."),
            (Thing::Question, "Qtype") => Value::Number(1),
            _ => return None,
        })
    }

    fn meta(&self, label: &str) -> String {
        if label == "kubernetes/namespace" { "shop".into() } else { String::new() }
    }
}

fn run(template: &str) -> Result<String, RunError> {
    Template::parse(template).map_err(|wrong| wrong.to_string())?.run(&Sample)
}

#[test]
fn what_templates_say() {
    for (template, text) in [
        ("plain", "plain"),
        ("{{ .Name }} 60", "www.example.org. 60"),
        ("{{.Question.Name}} {{ .Question.Qtype }}", "Www.example.org. 1"),
        ("{{ .Message.RecursionDesired }} {{ (index .Message.Question 0).Name }}", "true Www.example.org."),
        ("{{ index .Match 1 }}", "1"),
        ("{{ index .Group \"a\" }}{{ .Group.b }}{{ .Group.none }}", "ffx<no value>"),
        ("{{ .Meta \"kubernetes/namespace\" }}{{ .Meta \"none/such\" }}", "shop"),
        ("{{ parseInt .Group.a 16 8 }}", "255"),
        ("{{ parseInt \"0x1f\" 0 0 }} {{ parseInt \"017\" 0 64 }}", "31 15"),
        ("{{ .Group.a | printf \"%s-%s\" \"n\" }}", "n-ff"),
        (
            "{{ printf \"%03d|%x|%5s|%-4s|%q|%v|%%|%t\" 7 255 \"a\" \"b\" \"c\" .Match true }}",
            "007|ff|    a|b   |\"c\"|[all 1 ]|%|true",
        ),
        ("{{ printf \"%d %s\" \"a\" }}", "%!d(string=a) %!s(MISSING)"),
        ("{{ len .Match }}{{ len .Name }}", "316"),
        ("{{ slice .Name 0 3 }}{{ slice .Name 15 }}", "www."),
        ("{{ print 1 2 \"a\" 3 }}{{ println }}", "1 2a3\n"),
        ("{{ if eq .Type \"A\" \"AAAA\" }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if ne .Type \"A\" }}a{{ else if lt 1 2 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and .Name (not false) (ge 2 2) }}yes{{ end }}", "yes"),
        ("{{ or (index .Match 2) \"none\" }}", "none"),
        ("{{ with .Question }}{{ .Name }}{{ $.Type }}{{ end }}", "Www.example.org.A"),
        ("{{ with index .Match 2 }}{{ . }}{{ else }}empty{{ end }}", "empty"),
        ("{{ range .Match }}<{{ . }}>{{ end }}", "<all><1><>"),
        ("{{ range $n, $m := .Match }}{{ if eq $n 2 }}{{ break }}{{ end }}{{ $n }}={{ $m }} {{ end }}", "0=all 1=1 "),
        ("{{ range $k, $v := .Group }}{{ $k }}{{ $v }}{{ end }}", "affbx"),
        ("{{ range $n := 3 }}{{ $n }}{{ end }}{{ range 0 }}{{ else }}none{{ end }}", "012none"),
        ("{{ range slice .Match 3 }}x{{ else }}none{{ end }}", "none"),
        ("{{ $x := .Type }}{{ $x = print $x \"AAA\" }}{{ $x }}", "AAAA"),
        ("a {{- /* nothing */ -}} b {{- .Type -}} c", "abAc"),
        ("{{ `raw \\n` }}{{ \"a\\tb\\u00e9\" }}{{ 'a' }}", "raw \\na\tbé97"),
        ("{{ 0x10 }}{{ -5 }}{{ 0b11 }}{{ 1_000 }}", "16-531000"),
        ("{{ and 0 (index .Match 9) }}", "0"),
    ] {
        assert_eq!(run(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn what_is_wrong_is_refused_at_set_up() {
    for (template, why) in [
        ("{{ .Name", "column 1: the action has no }}"),
        ("ab{{ .Nam }}", "column 6: the question has no .Nam here; known are .Name"),
        ("{{ .Question.Foo }}", ".Question has no .Foo"),
        ("{{ .Message.Answer }}", ".Message has no .Answer"),
        ("{{ .Message }}", ".Message can't be written"),
        ("{{ .Name.Foo }}", "has no fields"),
        ("{{ define \"x\" }}{{ end }}", "define is known from Go, but not supported here"),
        ("{{ template \"x\" }}", "template is known"),
        ("{{ block \"x\" . }}{{ end }}", "block is known"),
        ("{{ html .Name }}", "html is known from Go"),
        ("{{ foo .Name }}", "there is no function foo; known are and"),
        ("{{ parseInt .Name }}", "parseInt does not take 1 values"),
        ("{{ .Meta }}", ".Meta takes one label"),
        ("{{ .Name 1 }}", "only a function takes values"),
        ("{{ if .Name }}", "it has no {{end}}"),
        ("{{ end }}", "{{end}} without"),
        ("{{ else }}", "{{else}} without"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "a second {{else}}"),
        ("{{ break }}", "{{break}} outside"),
        ("{{ $x }}", "$x is not there"),
        ("{{ $x = 1 }}", "write :="),
        ("{{ 1.5 }}", "1.5 is no whole number"),
        ("{{ printf \"%f\" 1 }}", "%f is not here"),
        ("{{ \"a }}", "no closing quote"),
        ("{{ (len .Name }}", "the parenthesis is not closed"),
        ("{{ len .Name) }}", "closes nothing"),
        ("{{ }}", "the action is empty"),
        ("{{ | len }}", "a value is missing"),
        ("{{ 1 | 2 }}", "a function must stand here"),
        ("{{ @ }}", "'@' has no meaning"),
        ("{{ /* x }}", "the comment has no */"),
    ] {
        let wrong = run(template).unwrap_err();
        assert!(wrong.to_string().contains(why), "{template}: {wrong}");
    }
    let deep = format!("{{{{ {} }}}}", "(".repeat(10_000));
    assert!(run(&deep).unwrap_err().to_string().contains("levels"));
}

#[test]
fn what_goes_wrong_when_it_runs() {
    for (template, why) in [
        ("{{ index .Match 3 }}", "index 3 is out of range: there are 3"),
        ("{{ index .Match -1 }}", "out of range"),
        ("{{ parseInt \"x\" 10 8 }}", "is no number"),
        ("{{ parseInt \"256\" 10 8 }}", "does not fit into 8 bits"),
        ("{{ parseInt \"-1\" 10 8 }}", "is no number"),
        ("{{ slice .Name 5 2 }}", "out of range"),
        ("{{ lt .Name 1 }}", "have no order"),
        ("{{ eq .Name 1 }}", "can't be compared"),
        ("{{ len 1 }}", "len of a number"),
        ("{{ range .Name }}{{ end }}", "range can't go over text"),
        ("{{ range 100001 }}{{ end }}", "does not come to an end"),
        ("{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}", "does not come to an end"),
    ] {
        assert!(run(template).unwrap_err().to_string().contains(why), "{template}");
    }
}

proptest::proptest! {
    #[test]
    fn no_template_makes_it_panic(template in "[{}$.|()a-cM-O0-9 \"'%=:,é\\-/*]{0,40}", words in "(\\{\\{ (if|end|range|with|else|index|printf|\\.Match|1|\"%5d\"|\\$x := 1|\\$x)[ |] ?\\}\\}){0,9}") {
        let _ = run(&template);
        let _ = run(&words);
        let _ = run(&format!("{{{{ {template} }}}}"));
    }
}
