//! The object against the real verifier, so as root.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::super::folders;
use super::*;
use std::path::PathBuf;

/// Of the million instructions that the verifier goes through; beyond this a program is on its way to
/// being refused by another kernel.
const BUDGET: u32 = 250_000;

#[test]
fn every_program_passes_with_and_without_another_layout() {
    let root = PathBuf::from(crate::place::BPFFS).join(format!("bowline-kernel-{}", std::process::id()));
    crate::place::make_root(&root).unwrap().keep();
    let sizes = Sizes { frontends: 8, services: 8, backends: 8, slots: 64, sockets: 8, affinity: 8 };
    let (ours, other) = (Folder(root.join("layout-1-0000000a")), Folder(root.join("layout-1-0000000b")));
    make_maps(&ours, &sizes).unwrap();
    make_maps(&other, &sizes).unwrap();
    assert_eq!(folders(&root).unwrap(), [ours.clone(), other.clone()]);
    let alone = load_programs(&ours, &sizes, None).unwrap();
    let both = load_programs(&ours, &sizes, Some((&other, &OURS))).unwrap();
    for object in [&alone, &both] {
        let counts = verified_instructions(object);
        assert_eq!(counts.len(), HOOKS.len());
        for (hook, count) in counts {
            assert!(count < BUDGET, "{hook}: {count} of {BUDGET}");
        }
    }
    drop((alone, both));
    // An agent was killed while it made maps: a folder without a layout is no error, and no layout.
    let half = Folder(root.join("layout-1-0000000c"));
    fs::create_dir(&half.0).unwrap();
    assert!(half.records().unwrap().is_none());
    half.remove().unwrap();
    // A pinned map of another shape is refused, and not used as if it were ours.
    let more = Sizes { services: 16, ..sizes };
    let error = make_maps(&ours, &more).unwrap_err();
    assert!(matches!(error, KernelError::Shape { .. }), "{error}");
    ours.remove().unwrap();
    other.remove().unwrap();
    fs::remove_dir(&root).unwrap();
}
