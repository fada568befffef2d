//! `bowline check`: a line for each thing that was looked at, and what to do.

use std::process::ExitCode;

use bowline_dataplane::check::{Fitness, check};

use crate::cli::CheckArgs;
use crate::table::render;

/// Prints the findings; fails where the agent couldn't work.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let findings = check(args.cgroup_root.as_deref());
    let mark = |fitness| match fitness {
        Fitness::Ok => "ok",
        Fitness::Warn => "note",
        Fitness::Fail => "FAIL",
    };
    let rows: Vec<Vec<String>> =
        findings.iter().map(|f| vec![mark(f.fitness).to_owned(), f.what.to_owned(), f.found.clone()]).collect();
    print!("{}", render(&["", "WHAT", "FOUND"], &rows));
    for f in findings.iter().filter(|f| !f.todo.is_empty()) {
        println!("\n{}: {}", f.what, f.todo);
    }
    if findings.iter().any(|f| f.fitness == Fitness::Fail) {
        println!("\nThis machine is not fit yet.");
        return ExitCode::FAILURE;
    }
    println!("\nThis machine is fit.");
    ExitCode::SUCCESS
}
