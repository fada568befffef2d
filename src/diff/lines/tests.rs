#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// What `diff -u` says of the same.
fn reference(before: &str, after: &str) -> String {
    let mut child = Command::new("bash")
        .args(["-c", "diff -u --label LIVE/x --label MERGED/x <(printf %s \"$1\") <(cat)", "diff", before])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(after.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_same_as_diff_u() {
    let text = |lines: &[u32]| lines.iter().map(|line| format!("line {line}\n")).collect::<String>();
    let twenty: Vec<u32> = (0..20).collect();
    let mut changed = twenty.clone();
    changed[10] = 99;
    let mut apart = twenty.clone();
    (apart[1], apart[18]) = (77, 78);
    for (before, after) in [
        (vec![], vec![]),
        (vec![], vec![1, 2]),
        (vec![1, 2], vec![]),
        (vec![1], vec![2]),
        (twenty.clone(), twenty.clone()),
        (twenty.clone(), changed),
        (twenty.clone(), apart),
        (twenty.clone(), twenty[3..].to_vec()),
        (twenty[3..17].to_vec(), twenty.clone()),
    ] {
        assert_eq!(unified(&text(&before), &text(&after), "x"), reference(&text(&before), &text(&after)));
    }
}

#[test]
fn steps_lead_from_one_to_the_other() {
    let mut seed = 7_u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (seed >> 16) % below
    };
    for _ in 0..500 {
        let mut make = || (0..random(12)).map(|_| ["a", "b", "c"][random(3) as usize]).collect::<Vec<_>>();
        let (old, new) = (make(), make());
        let (mut at_old, mut at_new, mut made) = (0, 0, Vec::new());
        for step in steps(&old, &new) {
            match step {
                Step::Same => {
                    assert_eq!(old[at_old], new[at_new]);
                    made.push(old[at_old]);
                    (at_old, at_new) = (at_old + 1, at_new + 1);
                }
                Step::Removed => at_old += 1,
                Step::Added => {
                    made.push(new[at_new]);
                    at_new += 1;
                }
            }
        }
        assert_eq!((at_old, made), (old.len(), new.clone()), "{old:?} -> {new:?}");
    }
}
