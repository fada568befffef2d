//! The name that somebody may have meant.

/// The known name nearest to `name`: at most a third of its letters (and at least one) differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MOST: usize = 64;
    let letters: Vec<char> = name.chars().take(MOST + 1).collect();
    if letters.len() > MOST {
        return None;
    }
    let nearest =
        known.into_iter().map(|other| (distance(&letters, other), other)).min_by_key(|(distance, _)| *distance);
    nearest.filter(|(distance, _)| *distance <= (letters.len() / 3).max(1)).map(|(_, other)| other)
}

/// Letters to change, add, drop or swap with their neighbour (restricted Damerau-Levenshtein), ignoring case.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let same = |x: char, y: char| x.eq_ignore_ascii_case(&y);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(!same(a[i - 1], b[j - 1]));
            let mut least = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + changed);
            if i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests;
