//! `header`: sets or clears flags of questions and answers.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Body, Serving};
use crate::wire::Flags;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Authoritative,
    RecursionAvailable,
    RecursionDesired,
}

/// A flag and what it becomes.
type Rule = (Flag, bool);

struct Header {
    of_questions: Vec<Rule>,
    of_answers: Vec<Rule>,
}

/// `header { query|response set|clear FLAGS... }`, FLAGS of aa, ra, rd.
///
/// # Errors
/// There is no rule, or one is none.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut header = Header { of_questions: Vec::new(), of_answers: Vec::new() };
    for directive in directives {
        directive.no_args()?;
        if directive.body().is_empty() {
            return Err(directive.error("has no rule; write one as `response set ra`"));
        }
        for line in directive.body() {
            let of = match line.name.to_ascii_lowercase().as_str() {
                "query" => &mut header.of_questions,
                "response" => &mut header.of_answers,
                _ => return Err(line.unknown_option(&["query", "response"])),
            };
            line.no_body()?;
            let args = line.args_between(2, usize::MAX)?;
            let is_set = match args[0].to_ascii_lowercase().as_str() {
                "set" => true,
                "clear" => false,
                other => return Err(line.error(format!("{other:?} is neither set nor clear"))),
            };
            for arg in &args[1..] {
                let flag = match arg.to_ascii_lowercase().as_str() {
                    "aa" => Flag::Authoritative,
                    "ra" => Flag::RecursionAvailable,
                    "rd" => Flag::RecursionDesired,
                    _ => return Err(line.error(format!("{arg:?} is no flag that can be set; known are aa, ra, rd"))),
                };
                of.push((flag, is_set));
            }
        }
    }
    Ok(Some(Arc::new(header)))
}

fn apply(rules: &[Rule], flags: &mut Flags) {
    for (flag, on) in rules {
        match flag {
            Flag::Authoritative => flags.set_aa(*on),
            Flag::RecursionAvailable => flags.set_ra(*on),
            Flag::RecursionDesired => flags.set_rd(*on),
        }
    }
}

impl Plugin for Header {
    fn name(&self) -> &'static str {
        "header"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        apply(&self.of_questions, &mut query.flags);
        if self.of_answers.is_empty() {
            return next.run(query);
        }
        Box::pin(async move {
            let mut outcome = next.run(query).await;
            if let Ok(Some(reply)) = &mut outcome {
                match &mut reply.body {
                    Body::Message(message) => apply(&self.of_answers, &mut message.flags),
                    Body::Wire(bytes) => {
                        if let Some([high, low]) = bytes.get_mut(2..4) {
                            let mut flags = Flags(u16::from_be_bytes([*high, *low]));
                            apply(&self.of_answers, &mut flags);
                            [*high, *low] = flags.0.to_be_bytes();
                        }
                    }
                }
            }
            outcome
        })
    }

    fn describe(&self) -> String {
        format!("changes {} flags of questions, {} of answers", self.of_questions.len(), self.of_answers.len())
    }
}
