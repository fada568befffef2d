//! `minimal`: answers carry no more than they must: authority and additional sections are left out of positive ones.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::Serving;
use crate::wire::{Message, Opcode, Rcode, Type};

struct Minimal;

/// `minimal`
///
/// # Errors
/// It has arguments.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_args()?;
        directive.no_body()?;
    }
    Ok(Some(Arc::new(Minimal)))
}

/// Whether what is beside the answer says nothing that it needs: not of a denial, which needs its SOA, nor of a
/// delegation, which is all in those sections, nor of a transfer.
fn can_go_without(message: &Message) -> bool {
    let is_transfer = message.questions.first().is_some_and(|asked| matches!(asked.rtype, Type::AXFR | Type::IXFR));
    if message.flags.opcode() != Opcode::QUERY || message.rcode() != Rcode::NOERROR || is_transfer {
        return false;
    }
    let denies = |rtype| message.authorities.iter().any(|record| record.rtype == rtype);
    !message.answers.is_empty() || !(denies(Type::SOA) || denies(Type::NS))
}

impl Plugin for Minimal {
    fn name(&self) -> &'static str {
        "minimal"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            let mut outcome = next.run(query).await;
            // Bytes of an upstream that are no message go on to whoever can say so.
            if let Ok(Some(reply)) = &mut outcome
                && let Ok(message) = reply.message()
                && can_go_without(message)
            {
                message.authorities.clear();
                message.additionals.clear();
            }
            outcome
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        fast.minimal = true;
        Step::Pass
    }
}
