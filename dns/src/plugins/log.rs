//! `log`: a line for each question, in CoreDNS's form.
//!
//! Lines are written by a thread of their own: their reader may be slow, and the threads that answer must not wait. If more
//! wait than it has room for, further ones are dropped, counted and told.

use std::sync::Arc;
use std::time::Instant;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::plugins::shared::format::{Asked, Format, Said};
use crate::reply::Serving;
use crate::reply::classify::Class;
use crate::wire::Name;

mod lines;
#[cfg(test)]
mod tests;

use lines::Lines;

const COMMON: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}"#;
const OPCODE: &str = r#" "{>opcode}""#;

struct Rule {
    /// Names below it are meant; in lower case.
    scope: Name,
    format: Arc<Format>,
    /// None: all.
    classes: Option<Arc<[Class]>>,
}

struct Log {
    rules: Vec<Rule>,
    lines: Arc<Lines>,
}

/// `log [NAMES...] [FORMAT] { class CLASSES... }`
///
/// # Errors
/// A name can't be read, or there is no such class.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut rules = Vec::new();
    for directive in directives {
        read(directive, &mut rules)?;
    }
    let dropped = building.services.dropped_log_lines();
    let lines = building.services.kept.get("log", || Lines::new(dropped, lines::print));
    Ok(Some(Arc::new(Log { rules, lines })))
}

fn read(directive: &Directive, rules: &mut Vec<Rule>) -> Result<(), CorefileError> {
    let (names, format) = match directive.args.split_last() {
        Some((last, [])) if last.contains('{') => {
            return Err(directive.error(format!("a format needs a name in front of it: log . {last:?}")));
        }
        Some((last, names)) if last.contains('{') => (names, last.as_str()),
        _ => (&directive.args[..], "{common}"),
    };
    let format = format.replace("{common}", COMMON).replace("{combined}", &format!("{COMMON}{OPCODE}"));
    let format = Arc::new(Format::parse(&format));
    let classes = classes(directive)?;
    let root = [".".to_owned()];
    for name in if names.is_empty() { &root } else { names } {
        let scope = Name::parse(name).map_err(|error| directive.error(format!("{name:?} is no name: {error}")))?;
        rules.push(Rule { scope: scope.to_lower(), format: format.clone(), classes: classes.clone() });
    }
    Ok(())
}

/// The classes that are asked for; None: all.
fn classes(directive: &Directive) -> Result<Option<Arc<[Class]>>, CorefileError> {
    let mut classes = Vec::new();
    let mut all = directive.body().is_empty();
    for option in directive.body() {
        if option.name != "class" {
            return Err(option.unknown_option(&["class"]));
        }
        for word in option.args_between(1, usize::MAX)? {
            match word.as_str() {
                "all" => all = true,
                "success" => classes.push(Class::Success),
                "denial" => classes.push(Class::Denial),
                "error" => classes.push(Class::Error),
                other => {
                    let message = format!("{other:?} is no class; there are success, denial, error and all");
                    return Err(option.error(message));
                }
            }
        }
    }
    Ok((!all).then(|| classes.into()))
}

impl Plugin for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(rule) = self.rules.iter().find(|rule| query.name().is_within(&rule.scope)) else {
            return next.run(query);
        };
        Box::pin(async move {
            let began = Instant::now();
            let asked = Asked::of(query);
            let outcome = next.run(query).await;
            let said = Said::of(query, &outcome, began.elapsed());
            if rule.classes.as_ref().is_none_or(|classes| classes.contains(&said.kind.class())) {
                self.lines.put(rule.format.fill(query, &asked, Some(&said)));
            }
            outcome
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let is_logged = self.rules.iter().any(|rule| fast.before(rule.scope.as_wire()).is_some());
        if is_logged { Step::Slow } else { Step::Pass }
    }

    fn describe(&self) -> String {
        let scopes: Vec<String> = self.rules.iter().map(|rule| rule.scope.to_string()).collect();
        format!("logs questions for {}", scopes.join(" "))
    }
}
