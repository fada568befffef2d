//! `any`: answers questions for ANY with one HINFO record (RFC 8482 §4.2), so that nobody is flooded by what a small
//! question brings forth.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Reply, Serving, ready};
use crate::wire::{Data, Record, Type};

/// Seconds, as others have it: the number of the RFC.
const TTL: u32 = 8482;

struct Any;

/// `any`
///
/// # Errors
/// It has arguments.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_args()?;
        directive.no_body()?;
    }
    Ok(Some(Arc::new(Any)))
}

impl Plugin for Any {
    fn name(&self) -> &'static str {
        "any"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if query.rtype() != Type::ANY {
            return next.run(query);
        }
        let mut message = query.reply();
        // Two texts, as TXT has them.
        let data = Data::txt(&[b"ANY obsoleted", b"See RFC 8482"]);
        message.answers.push(Record::new(query.name().clone(), Type::HINFO, TTL, data));
        query.note(|| "answers ANY with HINFO".to_owned());
        ready(Ok(Some(Reply::new(message, self.name()))))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if fast.plain.rtype() == Type::ANY { Step::Slow } else { Step::Pass }
    }
}
