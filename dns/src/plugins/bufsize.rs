//! `bufsize`: answers in datagrams are no longer than this, so that they are not sent in fragments.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::Serving;

/// Bytes, where nothing is said: what fits everywhere (dnsflagday.net/2020).
const SIZE: u16 = 1232;

struct Bufsize {
    most: u16,
}

/// `bufsize [SIZE]`
///
/// # Errors
/// The size is not one from 512 to 4096.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut most = SIZE;
    for directive in directives {
        directive.no_body()?;
        if let Some(arg) = directive.args_between(0, 1)?.first() {
            most = directive.parse(0, "a size from 512 to 4096")?;
            if !(512..=4096).contains(&most) {
                return Err(directive.error(format!("{arg} is not a size from 512 to 4096")));
            }
        }
    }
    Ok(Some(Arc::new(Bufsize { most })))
}

impl Plugin for Bufsize {
    fn name(&self) -> &'static str {
        "bufsize"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if let Some(edns) = &mut query.edns
            && edns.size > self.most
        {
            edns.size = self.most;
            query.note(|| format!("lowers EDNS's size to {}", self.most));
        }
        next.run(query)
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if fast.edns_size > self.most {
            fast.edns_size = self.most;
            if fast.transport.is_datagram() {
                fast.limit = fast.limit.min(usize::from(self.most));
            }
        }
        Step::Pass
    }

    fn describe(&self) -> String {
        format!("at most {} bytes", self.most)
    }
}
