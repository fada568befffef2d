//! `timeouts`: how long clients of streams may take, and how many questions they may ask by one connection.

use std::sync::Arc;
use std::time::Duration;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

#[cfg(test)]
mod tests;

const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(24 * 3600);

/// `timeouts { read DURATION; write DURATION; idle DURATION; maxtcpqueries MAXIMUM }`
///
/// # Errors
/// Nothing is set, an option is not there, or a value is out of its bounds.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_args()?;
        if directive.body().is_empty() {
            return Err(directive.error("sets nothing; give it read, write, idle or maxtcpqueries, or remove it"));
        }
        let timeouts = &mut building.block.timeouts;
        for option in directive.body() {
            match option.name.as_str() {
                "read" => timeouts.read = span(option)?,
                "write" => timeouts.write = span(option)?,
                "idle" => timeouts.idle = span(option)?,
                "maxtcpqueries" => timeouts.questions = questions(option)?,
                _ => return Err(option.unknown_option(&["read", "write", "idle", "maxtcpqueries"])),
            }
        }
    }
    Ok(None)
}

/// A span of time; a number alone is of seconds.
fn span(option: &Directive) -> Result<Duration, CorefileError> {
    let arg = option.one_arg()?;
    let span = match arg.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => option.duration(0)?,
    };
    if (LEAST..=MOST).contains(&span) { Ok(span) } else { Err(option.error(format!("{arg} is not from 1s to 24h"))) }
}

/// A number of questions; None: any.
fn questions(option: &Directive) -> Result<Option<u32>, CorefileError> {
    match option.one_arg()? {
        "-1" => Ok(None),
        arg => match arg.parse() {
            Ok(0) | Err(_) => Err(option.error(format!("{arg} is neither a number from 1 on nor -1 for any"))),
            Ok(number) => Ok(Some(number)),
        },
    }
}
