//! Unified diffs of two texts, by lines, with three lines around each change.

#[cfg(test)]
mod tests;

const AROUND: usize = 3;

/// Above so many changed lines, what differs is shown as a whole: finding the shortest way costs their square.
const MAX_CHANGES: usize = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Same,
    Removed,
    Added,
}

/// The diff, as `diff -u` writes it; empty where both are the same.
pub(super) fn unified(before: &str, after: &str, name: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let steps = steps(&old, &new);
    let mut out = String::new();
    let changed: Vec<usize> = (0..steps.len()).filter(|at| steps[*at] != Step::Same).collect();
    let mut next = 0;
    while next < changed.len() {
        let first = changed[next];
        // Changes that are near each other share a hunk.
        let mut last = first;
        while let Some(&at) = changed.get(next).filter(|at| **at <= last + 2 * AROUND) {
            (last, next) = (at, next + 1);
        }
        if out.is_empty() {
            out = format!("--- LIVE/{name}\n+++ MERGED/{name}\n");
        }
        let (from, to) = (first.saturating_sub(AROUND), (last + AROUND + 1).min(steps.len()));
        hunk(&steps, from, to, &old, &new, &mut out);
    }
    out
}

fn hunk(steps: &[Step], from: usize, to: usize, old: &[&str], new: &[&str], out: &mut String) {
    let count = |range: &[Step], not: Step| range.iter().filter(|step| **step != not).count();
    let (mut at_old, mut at_new) = (count(&steps[..from], Step::Added), count(&steps[..from], Step::Removed));
    let side = |start: usize, length: usize| match length {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{length}", start + 1),
    };
    let range = &steps[from..to];
    let sides = (side(at_old, count(range, Step::Added)), side(at_new, count(range, Step::Removed)));
    out.push_str(&format!("@@ -{} +{} @@\n", sides.0, sides.1));
    for step in range {
        let (sign, line) = match step {
            Step::Same => (' ', old[at_old]),
            Step::Removed => ('-', old[at_old]),
            Step::Added => ('+', new[at_new]),
        };
        at_old += usize::from(*step != Step::Added);
        at_new += usize::from(*step != Step::Removed);
        out.push(sign);
        out.push_str(line);
        out.push('\n');
    }
}

/// How to come from one to the other.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut steps = vec![Step::Same; head];
    match shortest(old, new) {
        Some(middle) => steps.extend(middle),
        None => {
            steps.extend(std::iter::repeat_n(Step::Removed, old.len()));
            steps.extend(std::iter::repeat_n(Step::Added, new.len()));
        }
    }
    steps.extend(std::iter::repeat_n(Step::Same, tail));
    steps
}

/// Myers' greedy way; None where there is too much to change.
fn shortest(old: &[&str], new: &[&str]) -> Option<Vec<Step>> {
    let (n, m) = (old.len() as isize, new.len() as isize);
    let most = ((n + m) as usize).min(MAX_CHANGES);
    // How far each diagonal is reached with so many changes; index `diagonal + changes`.
    let mut trace: Vec<Vec<isize>> = Vec::new();
    for changes in 0..=most as isize {
        let before = trace.last();
        let reached = |diagonal: isize| -> isize {
            let before = before.map_or(&[][..], Vec::as_slice);
            usize::try_from(diagonal + changes - 1).ok().and_then(|at| before.get(at)).copied().unwrap_or(-1)
        };
        let mut row = vec![-1; (2 * changes + 1) as usize];
        let mut done = false;
        for diagonal in (-changes..=changes).step_by(2) {
            let (down, right) = (reached(diagonal + 1), reached(diagonal - 1) + 1);
            let is_down = diagonal == -changes || (diagonal != changes && right <= down);
            let mut x = if changes == 0 {
                0
            } else if is_down {
                down
            } else {
                right
            };
            while x < n && x - diagonal < m && x >= diagonal && old[x as usize] == new[(x - diagonal) as usize] {
                x += 1;
            }
            row[(diagonal + changes) as usize] = x;
            done |= diagonal == n - m && x >= n;
        }
        trace.push(row);
        if done {
            return Some(back(&trace, n, m));
        }
    }
    None
}

/// The way back along the trace.
fn back(trace: &[Vec<isize>], n: isize, m: isize) -> Vec<Step> {
    let (mut x, mut y, mut steps) = (n, m, Vec::new());
    for changes in (0..trace.len() as isize).rev() {
        let diagonal = x - y;
        let reached = |diagonal: isize| -> isize {
            let row = usize::try_from(changes - 1).ok().and_then(|at| trace.get(at));
            let at = usize::try_from(diagonal + changes - 1).ok();
            row.and_then(|row| row.get(at?)).copied().unwrap_or(-1)
        };
        let (down, right) = (reached(diagonal + 1), reached(diagonal - 1) + 1);
        let is_down = diagonal == -changes || (diagonal != changes && right <= down);
        let (to_x, step) = match (changes, is_down) {
            (0, _) => (0, None),
            (_, true) => (down, Some(Step::Added)),
            (_, false) => (right, Some(Step::Removed)),
        };
        while x > to_x {
            steps.push(Step::Same);
            (x, y) = (x - 1, y - 1);
        }
        match step {
            Some(Step::Added) => y -= 1,
            Some(_) => x -= 1,
            None => {}
        }
        steps.extend(step);
    }
    steps.reverse();
    steps
}
