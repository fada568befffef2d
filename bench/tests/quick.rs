//! The bench runs from end to end: every row comes out, whatever its number is here.
#![allow(clippy::unwrap_used)] // a test ends by panicking

use std::path::Path;
use std::process::Command;

#[test]
fn a_smoke_run_prints_every_row() {
    let out = Command::new(env!("CARGO_BIN_EXE_bowline-bench")).args(["--quick", "--json"]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{stdout}{stderr}");
    for (row, count) in [
        ("TCP connect, request, close", 1),
        ("UDP sendto, recvfrom, one socket", 1),
        ("UDP, a fresh socket each time", 1),
        ("- the server's node without Bowline", 3),
        ("- control: direct, of direct", 3),
        ("Event read to kernel", 2),
        ("- flat", 1),
        ("Rename to client", 3),
        ("Cold start", 4),
        ("- its parts", 4),
        ("VmRSS", 4),
        ("- ours, without the arrays", 1),
        ("- the kernel's, in use", 1),
    ] {
        assert_eq!(rows(&stdout, row), count, "rows {row:?} in:\n{stdout}");
        let line = format!("| {row}");
        assert_eq!(stdout.lines().filter(|l| l.starts_with(&line)).count(), count, "rows {row:?} in:\n{stdout}");
    }
}

/// The build beside is the same one here.
fn beside(args: &[&str]) -> String {
    let bench = Path::new(env!("CARGO_BIN_EXE_bowline-bench"));
    let mut command = Command::new(bench);
    command.args(args).args(["--quick", "--json", "--beside"]).arg(bench.with_file_name("bowline"));
    let out = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

fn rows(stdout: &str, row: &str) -> usize {
    stdout.lines().filter(|line| line.starts_with(&format!("{{\"what\":\"{row}"))).count()
}

#[test]
fn another_build_is_measured_beside() {
    let stdout = beside(&["--rows", "udp,change,reach"]);
    for (row, count) in [("UDP", 2), ("Event read to kernel", 2), ("Rename to client", 3)] {
        assert_eq!(rows(&stdout, row), count, "rows {row:?} in:\n{stdout}");
    }
    assert_eq!(rows(&stdout, "- of the build beside"), 7, "{stdout}");
}

#[test]
fn an_upstream_that_answers_in_order_has_its_rows() {
    let stdout = beside(&["dns", "--parts", "in-order"]);
    for (row, count) in [
        ("forwarded by TCP, in order, one in 20 slow", 1),
        ("forwarded by TLS, in order, one in 20 slow", 1),
        ("- of the build beside", 4),
        ("- latency of the others", 2),
        ("- without a right answer within 2 s, of all asked", 2),
    ] {
        assert_eq!(rows(&stdout, row), count, "rows {row:?} in:\n{stdout}");
    }
}

#[test]
fn a_build_beside_that_is_not_there_is_said_at_once() {
    let out =
        Command::new(env!("CARGO_BIN_EXE_bowline-bench")).args(["--beside", "/nowhere/bowline"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && stderr.contains("--beside /nowhere/bowline: No such file"), "{stderr}");
}
