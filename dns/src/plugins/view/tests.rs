//! Blocks that share a zone: the first whose view takes the question answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::address::Transport;
use crate::plugins::asker::{Asker, question, refusal, shown};

fn text(name: &str) -> String {
    format!("template IN ANY {{\n answer \"{{{{ .Name }}}} 60 IN TXT {name}\"\n }}")
}

#[test]
fn the_block_is_chosen_by_the_clients_address() {
    let block = |view: &str, name: &str| format!("example.org {{\n {view}\n {}\n}}\n", text(name));
    let asker = Asker::new(
        &[
            block("view four {\n expr incidr(client_ip(), '192.168.0.0/16')\n }", "four"),
            block("view six {\n expr incidr(client_ip(), '2001:0DB8::/32')\n }", "six"),
            block("view both {\n expr type() in ['A', 'AAAA']\n expr name() startsWith 'www.'\n }", "both"),
            block("", "others"),
        ]
        .concat(),
    );
    let answered = |name: &str, rtype: &str, from: &str| {
        shown(&asker.send(&question(name, rtype), from, Transport::Udp).unwrap().answers)[0].replace('"', "")
    };
    assert_eq!(answered("example.org.", "TXT", "192.168.3.4:5"), "example.org. 60 IN TXT four");
    assert_eq!(answered("example.org.", "TXT", "[2001:db8::1]:5"), "example.org. 60 IN TXT six");
    assert_eq!(answered("WWW.example.org.", "A", "10.0.0.1:5"), "www.example.org. 60 IN TXT both");
    assert_eq!(answered("www.example.org.", "MX", "10.0.0.1:5"), "www.example.org. 60 IN TXT others");
    assert_eq!(answered("example.org.", "A", "10.0.0.1:5"), "example.org. 60 IN TXT others");
}

#[test]
fn the_views_name_is_known_to_plugins() {
    let block = ". {\n metadata\n view inside {\n expr true\n }\n template IN TXT {\n \
         answer \"{{ .Name }} 0 IN TXT {{ .Meta `view/name` }}\"\n }\n rewrite edns0 local set 0xffee {view/name}\n}";
    let asker = Asker::new(block);
    assert_eq!(asker.answers("a.", "TXT"), ["a. 0 IN TXT \"inside\""]);
    let labels = r#"class="IN",server="dns://:53",type="TXT",view="inside",zone=".""#;
    assert_eq!(asker.metric(&format!("coredns_template_matches_total{{{labels}}}")).as_deref(), Some("1"));
}

#[test]
fn what_is_wrong_is_refused() {
    for (wrong, why) in [
        ("view", "Corefile:2: view: takes one argument"),
        ("view x {\n expr invalid expression\n }", "Corefile:3: expr: the expression \"invalid expression\", column 1"),
        ("view x {\n foo bar\n }", "known are expr"),
        ("view x {\n expr\n }", "takes at least 1 argument"),
        ("view a {\n }\n view b {\n }", "Corefile:4: view: is there already"),
    ] {
        let refused = refusal(&format!(". {{\n {wrong}\n}}"));
        assert!(refused.contains(why), "{refused}");
    }
}
