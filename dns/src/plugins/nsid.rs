//! `nsid`: tells a client that asks for it which server answered (RFC 5001).

use std::sync::Arc;

use super::chaos::host_name;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Reply, Serving};
use crate::wire::Edns;
use crate::wire::edns::option::NSID;

struct Nsid {
    id: String,
}

/// `nsid [DATA]`
///
/// # Errors
/// It is there twice.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut id = host_name();
    for (n, directive) in directives.iter().enumerate() {
        directive.no_body()?;
        if n > 0 {
            return Err(directive.error("is there already; a server has one name"));
        }
        if !directive.args.is_empty() {
            id = directive.args.join(" ");
        }
    }
    Ok(Some(Arc::new(Nsid { id })))
}

impl Plugin for Nsid {
    fn name(&self) -> &'static str {
        "nsid"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(asked) = query.edns.as_ref().filter(|edns| edns.option(NSID).is_some()) else {
            return next.run(query);
        };
        let own = Edns::new(asked.size, asked.dnssec_ok);
        Box::pin(async move {
            let mut outcome = next.run(&mut *query).await;
            if let Err(failure) = &outcome {
                // A failure is told of too: it is then that one asks which server it was.
                let mut message = query.reply();
                message.set_rcode(failure.rcode);
                outcome = Ok(Some(Reply::new(message, failure.by)));
            }
            if let Ok(Some(reply)) = &mut outcome
                && let Ok(message) = reply.message()
            {
                let options = &mut message.edns.get_or_insert(own).options;
                match options.iter_mut().find(|(code, _)| *code == NSID) {
                    Some((_, id)) => *id = self.id.clone().into_bytes(),
                    None => options.push((NSID, self.id.clone().into_bytes())),
                }
            }
            outcome
        })
    }

    fn fast<'a>(&'a self, _: &mut Fast<'a>) -> Step {
        Step::Pass // A plain question does not ask for it.
    }

    fn describe(&self) -> String {
        format!("is {:?}", self.id)
    }
}
