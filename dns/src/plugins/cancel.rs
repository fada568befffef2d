//! `cancel`: gives a question up after some time; the client gets SERVFAIL.

use std::sync::Arc;
use std::time::Duration;

use bowline_cluster::span::exact;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{QueryError, Serving};

/// How long a question may take where nothing is said: just longer than clients wait.
const TIMEOUT: Duration = Duration::from_millis(5001);

struct Cancel {
    after: Duration,
}

/// `cancel [TIMEOUT]`
///
/// # Errors
/// The time is none, or nothing.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut after = TIMEOUT;
    for directive in directives {
        directive.no_body()?;
        if !directive.args_between(0, 1)?.is_empty() {
            after = directive.duration(0)?;
        }
        if after.is_zero() {
            return Err(directive.error("a question needs some time; write it as 5s or 500ms"));
        }
    }
    Ok(Some(Arc::new(Cancel { after })))
}

impl Plugin for Cancel {
    fn name(&self) -> &'static str {
        "cancel"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            match tokio::time::timeout(self.after, next.run(query)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(QueryError::servfail("cancel", "context deadline exceeded")),
            }
        })
    }

    fn fast<'a>(&'a self, _: &mut Fast<'a>) -> Step {
        Step::Pass // What is answered at once is in time.
    }

    fn describe(&self) -> String {
        format!("gives up after {}", exact(self.after))
    }
}
