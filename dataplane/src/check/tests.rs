//! What is said of kernels that this machine doesn't have.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use crate::kernel::HOOKS;

fn refused() -> KernelError {
    KernelError::Program { hook: "sock_release", what: "the verifier refuses the program".into() }
}

#[test]
fn a_kernel_that_refuses_the_programs_is_never_called_ok() {
    for version in [(5, 10), (5, 15), (6, 1), (6, 18)] {
        let found = kernel(version, &[], Some(Err(&refused())));
        assert_eq!(found.fitness, Fitness::Fail, "{found:?}");
        assert_eq!(programs(&Err(refused()), version).fitness, Fitness::Fail);
    }
    // Nor is one that could not be tried.
    assert_eq!(kernel((6, 18), &[], None).fitness, Fitness::Warn);
}

#[test]
fn one_below_the_floor_is_told_so_and_one_above_it_is_to_be_reported() {
    for version in [(4, 19), (5, 10), (5, 15), (6, 0)] {
        let found = kernel(version, &[], Some(Err(&refused())));
        assert!(found.todo.contains("Linux 6.1 is the oldest"), "{found:?}");
        assert!(!programs(&Err(refused()), version).todo.contains("report"));
    }
    assert!(programs(&Err(refused()), (6, 1)).todo.contains("report it"));
    // What is missing on the machine is no defect of a program.
    let other = path_error(Path::new("/sys/fs/bpf"), "creating")(std::io::Error::from_raw_os_error(1));
    assert_eq!(programs(&Err(other), (6, 12)).todo, "");
}

#[test]
fn one_below_the_floor_that_takes_everything_is_fit_with_a_word() {
    let found = kernel((5, 15), &["without bpf_loop".to_owned()], Some(Ok(())));
    assert_eq!(found.fitness, Fitness::Warn);
    assert!(found.todo.contains("6.1 is the oldest") && found.todo.contains("bpf_loop"), "{found:?}");
    // By what it does, not by its number: an old number with everything is that; a new one without is a word, too.
    assert_eq!(kernel((6, 1), &[], Some(Ok(()))).fitness, Fitness::Ok);
    assert_eq!(kernel((6, 12), &["without bpf_loop".to_owned()], Some(Ok(()))).fitness, Fitness::Warn);
}

#[test]
fn what_is_tried_is_everything_and_nothing_of_it_is_pinned_where_others_see_it() {
    let tried = load_all().unwrap();
    let mut wanted: Vec<&str> =
        HOOKS.iter().map(|hook| hook.name).chain(["from_pod", "from_link", "to_link"]).collect();
    wanted.sort_unstable();
    assert!(tried.into_keys().eq(wanted));
    let ours = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("bowline-check");
    assert!(!fs::read_dir(BPFFS).unwrap().flatten().any(ours));
}
