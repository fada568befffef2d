//! What `bowline dns` says of a Corefile.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use bowline_lab::Lab;

/// Runs `bowline dns` to its end on this Corefile.
fn run(lab: &Lab, corefile: &str, words: &[&str]) -> (PathBuf, Output) {
    let path = lab.folder("words").unwrap().join("Corefile");
    std::fs::write(&path, corefile).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.arg("dns").args(words).arg("--conf").arg(&path).stdin(Stdio::null());
    (path, command.output().unwrap())
}

#[test]
fn a_refused_corefile_is_told_once() {
    let lab = Lab::new("dns-words").unwrap();
    for (corefile, line, says) in [
        (". {\n    kubernetes cluster.local {\n        pods sometimes\n    }\n}\n", 3, "pods: "),
        (". {\n    whoami\n", 1, ""),
    ] {
        let (path, out) = run(&lab, corefile, &[]);
        assert!(!out.status.success());
        let said = String::from_utf8(out.stderr).unwrap();
        let place = format!("{}:{line}: {says}", path.display());
        assert_eq!(said.matches(&place).count(), 1, "{place} in {said}");
    }
}

#[test]
fn explain_tells_to_whom_a_question_would_go() {
    let lab = Lab::new("dns-explain").unwrap();
    let corefile =
        ". {\n    acl {\n        drop type TXT\n    }\n    cache\n    forward . 192.0.2.53 192.0.2.54:5353\n}\n";
    let explained = |rtype: &str| {
        let (_, out) = run(&lab, corefile, &["explain", "www.example.org", rtype]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let forwarded = explained("A");
    let last = forwarded.lines().last().unwrap();
    assert!(last.starts_with(";; it would be forwarded to 192.0.2.53:53, 192.0.2.54:5353 (random)"), "{forwarded}");
    assert!(forwarded.contains("forward      would ask 192.0.2.53:53"), "{forwarded}");
    let dropped = explained("TXT");
    assert_eq!(dropped.lines().last(), Some(";; no answer: the question is dropped"), "{dropped}");
}
