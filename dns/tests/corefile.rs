//! Corefiles here and in CoreDNS itself: what is accepted, what is refused, and the digest of what is parsed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bowline_dns::corefile::{self, Corefile};

/// What both do with a Corefile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Both {
    Accept,
    Refuse,
    /// CoreDNS takes it for something that nobody can have meant.
    OnlyCoreDns,
    /// CoreDNS stumbles where what is meant is plain.
    OnlyHere,
}
use Both::{Accept, OnlyCoreDns, OnlyHere, Refuse};

/// The Corefiles, with `whoami` and what else needs no peer.
const CASES: &[(Both, &str)] = &[
    (Accept, ".:0 {\nwhoami\n}\n"),
    (Accept, "dns://.:0 {\nwhoami\n}\n"),
    (Accept, "a:0 b:0 {\nwhoami\n}\n"),
    (Accept, "a:0,\nb:0 {\nwhoami\n}\n"),
    (Accept, ".:0\n{\nwhoami\n}\n"),
    (Accept, ".:0 { whoami\n}\n"),
    (Accept, ".:0\nwhoami\nlog\n"),
    (Accept, "a:0 {\nwhoami\n} b:0 {\nwhoami\n}\n"),
    (Accept, "a:0"),
    (Accept, "\u{feff}.:0 {\r\nwhoami\r\n}\r\n"),
    (Accept, "# a\n.:0 { # b {\n# }\nwhoami # c\nlog#d\n}\n# e"),
    (Accept, ".:0 {\nlog . \"{type} \\\"{name}\\\" \\d\n{rcode}\"\n}\n"),
    (Accept, ".:0 {\ntemplate IN A {\nmatch \"^a\\.b{1,2}$\"\nanswer \"{{ .Name }} 60 IN A 10.0.0.1\"\n}\n}\n"),
    (Accept, ".:0 {\nforward . 127.0.0.1 {\nmax_fails 3\n}\nforward a 127.0.0.1\n}\n"),
    (Accept, ".:0 {\nforward . 127.0.0.1 { max_fails 3\n}\n}\n"),
    (Accept, ".:0 {\nforward . 127.0.0.1 { max_fails 3 }\n}\n"),
    (Accept, "10.0.0.0/24:0 {\nwhoami\n}\n"),
    (Accept, "10.0.0.0/15:0 {\nwhoami\n}\n"),
    (Accept, "fd00::/9:0 {\nwhoami\n}\n"),
    (Accept, "0/25.2.0.192.in-addr.arpa:0 {\nwhoami\n}\n"),
    (Accept, "127.0.0.1:0 {\nwhoami\n}\n"),
    (Accept, "tls://a:0 {\nwhoami\n}\n"),
    (Accept, "https://a:0 {\nwhoami\n}\n"),
    (Accept, "{$TEST_ZONE}:0 {\nlog {%TEST_ZONE%} x{$UNSET}y {$} {%}\n}\n"),
    (Accept, "(s) {\nlog\nerrors\n}\n.:0 {\nimport s\nwhoami\n}\n"),
    (Accept, "(s) {\nmax_fails 3\n}\n.:0 {\nforward . 127.0.0.1 {\nimport s\nexpire 10s\n}\n}\n"),
    (Accept, "(s) {\nmax_fails 3\n}\n.:0 {\nforward . 127.0.0.1 {\nimport s\nimport s\n}\n}\n"),
    (Accept, "(s) {\na:0 {\nwhoami\n}\n}\nimport s\n"),
    (Accept, ".:0 {\nimport some/*.override\nwhoami\n}\nimport some/*.server\n"),
    (Accept, ".:0 {\nimport none/*.override\nwhoami\n}\nimport none/*.server\n"),
    (Accept, "import some/snippets\n.:0 {\nimport common\n}\n"),
    (Accept, ".:0 {\nimport some/nested\n}\n"),
    (Refuse, ":0 {\nwhoami\n}\n"),
    (Refuse, "dns://:0 {\nwhoami\n}\n"),
    (Refuse, "a:0 b: {\nwhoami\n}\n"),
    (Refuse, ".:99999 {\nwhoami\n}\n"),
    (Refuse, "a..b:0 {\nwhoami\n}\n"),
    (Refuse, "::/0 {\nwhoami\n}\n"),
    (Refuse, "unix://x:0 {\nwhoami\n}\n"),
    (Refuse, ".:0{\nwhoami\n}\n"),
    (Refuse, ".:0 {\nwhoami }\n"),
    (Refuse, ".:0 {\nwhoami\n"),
    (Refuse, ".:0 {\nlog {\nclass error\n"),
    (Refuse, ".:0 {\nlog \"a\n}\n"),
    (Refuse, "a:0, {\nwhoami\n}\n"),
    (Refuse, "a:0,"),
    (Refuse, ".:0 {\nimport\n}\n"),
    (Refuse, ".:0 {\nimport a b\n}\n"),
    (Refuse, ".:0 {\nimport absent\n}\n"),
    (Refuse, ".:0 {\nimport some\n}\n"),
    (Refuse, ".:0 {\nimport */*\n}\n"),
    (Refuse, ".:0 {\nimport [s]ome\n}\n"),
    (Refuse, ".:0 {\nimport Corefile\n}\n"),
    (Refuse, "(s) {\nwhoami\n}\n(s) {\nwhoami\n}\n.:0 {\nimport s\n}\n"),
    (Refuse, "(s) {\nimport s\n}\n.:0 {\nimport s\n}\n"),
    (Refuse, "(s)\nwhoami\n"),
    // It serves a block of its own in their place, or drops what has no zone.
    (OnlyCoreDns, ""),
    (OnlyCoreDns, "# only\n"),
    (OnlyCoreDns, "{\nwhoami\n}\n"),
    (OnlyCoreDns, "{$UNSET} {\nwhoami\n}\n"),
    // Zones called "a,b", "a{", "}", "ftp://a", "10.0.0.0/33"; a log for the zone "{".
    (OnlyCoreDns, "a,b:0 {\nwhoami\n}\n"),
    (OnlyCoreDns, "a{\nwhoami\n}\n"),
    (OnlyCoreDns, ".:0 {\nwhoami\n}\n}\n"),
    (OnlyCoreDns, "ftp://a:0 {\nwhoami\n}\n"),
    (OnlyCoreDns, "10.0.0.0/33:0 {\nwhoami\n}\n"),
    (OnlyCoreDns, ".:0 {\nlog\n{\nclass error\n}\n}\n"),
    (OnlyCoreDns, ".:0\nwhoami\n}\n"),
    // Known, not supported.
    (OnlyCoreDns, "grpc://a:0 {\nwhoami\n}\n"),
    // There the } is an argument of lameduck.
    (OnlyHere, ".:0 {\nhealth 127.0.0.1:0 { lameduck 5s }\n}\n"),
];

const FILES: [(&str, &str); 6] = [
    ("some/a.override", "log"),
    ("some/b.override", "errors {\nconsolidate 5m \"a b\" warning\n}\n"),
    ("some/b.server", "b:0 {\nimport a.override\nwhoami\n}\n"),
    ("some/snippets", "(common) {\nimport a.override\n}\n"),
    ("some/nested", "import ../some/a.override\nimport b.override\n"),
    ("none/other", ""),
];

fn env(name: &str) -> Option<String> {
    (name == "TEST_ZONE").then(|| "zoné.example".to_string())
}

/// Starts CoreDNS with a Corefile and ends it. What it printed, and whether it got so far as to serve.
fn coredns(path: &Path) -> (bool, String) {
    let mut command = Command::new(bowline_lab::kubernetes::binary("coredns").unwrap());
    command.arg("-conf").arg(path).args(["-dns.port", "0"]).env("TEST_ZONE", env("TEST_ZONE").unwrap());
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // It holds the pipe's other end, which would never close.
    drop(command);
    let (mut serves, mut printed) = (false, String::new());
    for line in BufReader::new(reader).lines() {
        let line = line.unwrap();
        // It prints its version once it serves; with no server it ends after that.
        serves |= line.starts_with("linux/");
        printed.push_str(&line);
        printed.push('\n');
        if serves {
            break;
        }
    }
    let _ = child.kill();
    child.wait().unwrap();
    (serves, printed)
}

fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let path = folder.path().join("Corefile");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn what_coredns_accepts_and_refuses() {
    let mut wrong = Vec::new();
    for &(expected, text) in CASES {
        let (_folder, path) = folder(text);
        let here = corefile::read(&path, &env);
        let (there, printed) = coredns(&path);
        // unix:// gives no server: it starts, and ends.
        let there = there && !text.starts_with("unix:");
        let found = match (here.is_ok(), there) {
            (true, true) => Accept,
            (false, false) => Refuse,
            (false, true) => OnlyCoreDns,
            (true, false) => OnlyHere,
        };
        if found != expected {
            wrong.push(format!("{text:?}: {found:?}, not {expected:?}\n  here: {:?}\n  there: {printed}", here.err()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_digest_is_that_of_coredns() {
    let reload = "reload:0 {\nreload 60s\n}\n";
    let others = [
        "é:0 \"a b:0\" {\nlog . \"<{type}> & \\\"x\\\" \\d\u{2028}\t\u{1}\n{rcode}\" {\nclass error\n}\n}\n",
        "(s) {\nlog {$TEST_ZONE}\n}\n{$TEST_ZONE}:0 {\nimport s\nimport some/nested\nwhoami\n}\nimport some/*.server\n",
        ".:0 {\nforward . 127.0.0.1 { max_fails 3 }\nforward a 127.0.0.1 {\n}\n\n  errors\n}\n",
    ];
    for text in others {
        let (_folder, path) = folder(&format!("{reload}{text}"));
        let here = corefile::read(&path, &env).unwrap();
        let (_, printed) = coredns(&path);
        let there = printed.split("SHA512 = ").nth(1).and_then(|rest| rest.lines().next());
        assert_eq!(there, Some(here.digest.as_str()), "{text}\n{printed}");
    }
}

fn shipped(name: &str) -> Corefile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corefiles").join(format!("{name}.Corefile"));
    corefile::read(&path, &|_| None).unwrap()
}

/// The Corefiles that distributions of Kubernetes ship; NodeLocal's template is `corefile::node_cache`'s.
#[test]
fn what_distributions_ship() {
    let names = |corefile: &Corefile, block: usize| {
        corefile.blocks[block].directives.iter().map(|directive| directive.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let keys = |corefile: &Corefile| {
        let keys = corefile.blocks.iter().flat_map(|block| &block.keys);
        keys.map(|key| key.text.as_str()).collect::<Vec<_>>().join(" ")
    };
    let cases = [
        ("kubeadm", ".:53", 1, "errors health ready kubernetes prometheus forward cache loop reload loadbalance"),
        ("eks", ".:53", 1, "errors health ready kubernetes prometheus forward cache loop reload loadbalance"),
        (
            "aks",
            ".:53 corp.example:53",
            2,
            "errors ready health kubernetes prometheus forward cache loop reload loadbalance log hosts rewrite template template",
        ),
        (
            "gke",
            ".:53 acme.local corp.example:53 10.0.0.0/14",
            3,
            "errors log health ready kubernetes autopath prometheus forward cache loop reload loadbalance",
        ),
        ("k3s", ".:53", 1, "errors health ready kubernetes hosts prometheus cache loop reload loadbalance forward"),
        ("openshift", "corp.example:5353 .:5353 hostname.bind:5353", 3, "prometheus forward errors log bufsize cache"),
        (
            "gardener",
            ".:8053 corp.example:53",
            2,
            "health ready rewrite kubernetes prometheus loop log hosts rewrite errors log forward cache reload loadbalance",
        ),
    ];
    for (name, expected_keys, blocks, directives) in cases {
        let corefile = shipped(name);
        assert_eq!(keys(&corefile), expected_keys, "{name}");
        assert_eq!(corefile.blocks.len(), blocks, "{name}");
        assert_eq!(names(&corefile, 0), directives, "{name}");
        assert_eq!(corefile.warnings.len(), if name == "k3s" { 2 } else { 0 }, "{name}: {:?}", corefile.warnings);
    }
    let aks = shipped("aks");
    assert_eq!(aks.blocks[0].directives[13].body()[0].args, ["^(?:[^.]+\\.){4,}internal\\.cloudapp\\.net\\.$"]);
    let gke = shipped("gke");
    let zones: Vec<String> = gke.blocks[2].keys[0].zones.iter().map(ToString::to_string).collect();
    assert_eq!(zones, ["0.10.in-addr.arpa.", "1.10.in-addr.arpa.", "2.10.in-addr.arpa.", "3.10.in-addr.arpa."]);
}
