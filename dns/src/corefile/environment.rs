//! `{$NAME}` and `{%NAME%}` in a word become the value of the environment variable NAME.

use super::SetupError;
use super::limits::{MAX_SUBSTITUTIONS, MAX_WORD};

/// Puts the variables into `word`. `unset` is told of each that has no value; it becomes nothing. A value
/// may name further variables, as in CoreDNS; a value that names itself is an error.
pub(super) fn expand(
    word: &str,
    env: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> Result<String, SetupError> {
    if !word.contains("{%") && !word.contains("{$") {
        return Ok(word.to_string());
    }
    let mut left = MAX_SUBSTITUTIONS;
    let word = replace(word.to_string(), "{%", "%}", env, unset, &mut left)?;
    replace(word, "{$", "}", env, unset, &mut left)
}

fn replace(
    mut word: String,
    open: &str,
    close: &str,
    env: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
    left: &mut usize,
) -> Result<String, SetupError> {
    while let Some(start) = word.find(open) {
        let name_at = start + open.len();
        // CoreDNS looks for the end from the start of the opening, so that `{%}` is no reference.
        let Some(end) = word[start..].find(close).map(|at| at + start) else { break };
        if end <= name_at {
            break;
        }
        if *left == 0 {
            return Err(format!(
                "more than {MAX_SUBSTITUTIONS} environment variables in one word; does one name itself?"
            )
            .into());
        }
        *left -= 1;
        let name = &word[name_at..end];
        let value = env(name).unwrap_or_else(|| {
            unset(name);
            String::new()
        });
        if word.len() + value.len() > MAX_WORD {
            return Err(format!("the environment variable {name} makes a word of more than {MAX_WORD} bytes").into());
        }
        word.replace_range(start..end + close.len(), &value);
    }
    Ok(word)
}
