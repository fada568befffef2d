//! The bench runs from end to end: every row comes out, whatever its number is here.
#![allow(clippy::unwrap_used)] // a test ends by panicking

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
        let object = format!("{{\"what\":\"{row}");
        let found = stdout.lines().filter(|line| line.starts_with(&object)).count();
        assert_eq!(found, count, "rows {row:?} in:\n{stdout}");
        let line = format!("| {row}");
        assert_eq!(stdout.lines().filter(|l| l.starts_with(&line)).count(), count, "rows {row:?} in:\n{stdout}");
    }
}
