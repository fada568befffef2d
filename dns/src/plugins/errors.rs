//! `errors`: tells in the log why questions failed, each or how many alike in a span of time.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::Serving;

mod pattern;
#[cfg(test)]
mod tests;

use pattern::{Level, Pattern};

struct Errors {
    patterns: Vec<Arc<Pattern>>,
}

/// `errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }`
///
/// # Errors
/// An option is not there, or its arguments are wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    if let [file] = directive.args_between(0, 1)?
        && file != "stdout"
    {
        return Err(directive.error(format!("can't log to the file {file}; errors are in this program's log")));
    }
    let mut patterns = Vec::new();
    for option in directive.body() {
        match option.name.as_str() {
            // A panic's place is in the log always.
            "stacktrace" => option.no_args()?,
            "consolidate" => {
                let pattern = Arc::new(Pattern::read(option)?);
                building.spawn("errors", pattern::summarize(pattern.clone()));
                patterns.push(pattern);
            }
            _ => return Err(option.unknown_option(&["stacktrace", "consolidate"])),
        }
    }
    Ok(Some(Arc::new(Errors { patterns })))
}

impl Errors {
    fn tell(&self, line: &str, reason: &str) {
        for pattern in &self.patterns {
            if pattern.is_like(reason) {
                if pattern.count() {
                    pattern.level.log(line);
                }
                return;
            }
        }
        Level::Error.log(line);
    }
}

impl Plugin for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            let outcome = next.run(query).await;
            if let Err(failure) = &outcome
                && !failure.reason.is_empty()
            {
                let (rcode, name, rtype) = (failure.rcode.0, query.name().to_lower(), query.rtype());
                let reason = &failure.reason;
                // CoreDNS's own words for an upstream's trouble name no plugin.
                let line = match failure.by {
                    "" | "forward" => format!("plugin/errors: {rcode} {name} {rtype}: {reason}"),
                    by => format!("plugin/errors: {rcode} {name} {rtype}: plugin/{by}: {reason}"),
                };
                self.tell(&line, reason);
            }
            outcome
        })
    }

    /// Nothing fails on the fast way: what might, takes the long way.
    fn fast<'a>(&'a self, _: &mut Fast<'a>) -> Step {
        Step::Pass
    }

    fn describe(&self) -> String {
        match self.patterns.len() {
            0 => "tells of each failure".to_owned(),
            n => format!("tells of failures, those like {n} patterns together"),
        }
    }
}
