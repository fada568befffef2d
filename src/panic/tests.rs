//! Which threads may end alone.

use super::*;

#[test]
fn only_what_answers_may_end_alone() {
    for thread in ["bowline-dns-0", "bowline-dns-17"] {
        assert!(!ends_the_process(thread), "{thread}");
    }
    for thread in [
        "state-local",
        "kubernetes",
        "tokio-rt-worker",
        "main",
        "register",
        "bowline-dns-keeper",
        "bowline-dns-guard",
        "without a name",
    ] {
        assert!(ends_the_process(thread), "{thread}");
    }
}
