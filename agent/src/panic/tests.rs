//! What a panic does to a process: the test runs itself as one.
#![allow(clippy::panic, clippy::unwrap_used, reason = "panics are what is tested")]

use std::process::Command;

/// Says in what way a process of this test panics.
const WAY: &str = "BOWLINE_TEST_PANICS";

/// What a process that panics in this way leaves: its exit code, and what it has said.
fn left(way: &str) -> (Option<i32>, String) {
    let name = "panic::tests::a_panic_ends_the_process_unless_somebody_waits_for_its_end";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let out = command.args(["--exact", name, "--nocapture"]).env(WAY, way).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn panics(way: &str) {
    crate::log::start(crate::log::Format::Text, 0);
    super::watch();
    let fault = || -> u8 { panic!("a fault,\n in two lines") };
    match way {
        "caught" => assert_eq!(bowline_dns::caught::catch(fault), None),
        // By name a thread that answers; what listens there is needed all the same.
        "listener" => drop(std::thread::Builder::new().name("bowline-dns-0".into()).spawn(fault).unwrap().join()),
        "task" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            drop(runtime.block_on(async { tokio::spawn(async move { fault() }).await }));
        }
        _ => drop(std::thread::spawn(fault).join()),
    }
    crate::log::end();
}

#[test]
fn a_panic_ends_the_process_unless_somebody_waits_for_its_end() {
    if let Ok(way) = std::env::var(WAY) {
        return panics(&way);
    }
    for (way, code) in [("caught", 0), ("listener", 101), ("task", 101), ("thread", 101)] {
        let (left, said) = left(way);
        assert_eq!(left, Some(code), "{way}: {said}");
        assert!(said.contains("a fault of this program: a fault, in two lines; please report it"), "{way}: {said}");
        assert!(said.contains("panic/tests.rs"), "{way}: {said}");
    }
}
