//! What a plugin is: the contract between the plugins, which stand above it, and the server, which puts them together.
//! docs/plugins.md shows how to write one.
//!
//! Every question meets the plugins of its server block in one fixed order ([`crate::plugins`]), whatever the order of the
//! Corefile. Each may answer, change the question, pass it on, and change the answer on its way back:
//!
//! ```text
//! question -> errors -> prometheus -> cache -> kubernetes -> forward
//! answer   <-        <-            <-       <-            <-
//! ```
//!
//! There are two ways through. The *long way* (`serve`) does everything and may wait. The *fast way* (`fast`) runs on
//! the thread of the socket for a plain question, without allocation, lock or system call; a plugin that
//! can't do its part so says `Step::Slow`, and the question goes the long way from the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::address::Address;
use crate::corefile::{CorefileError, Directive, SourceLine};
use crate::fast::{Fast, Step};
use crate::records::Records;
use crate::reply::{QueryError, Serving, ready};
use crate::wire::Name;
use crate::zone::{WholeZone, WholeZoneError};

mod block;
pub(crate) mod building;
pub mod page;
mod query;
mod services;
mod upstreams;
pub mod zones;

pub use block::{Block, BlockConfig, Filter, Reports, Timeouts, View};
pub use building::{Building, Reload};
pub use query::{Query, Request, Responder, Trace};
pub use services::{Dropped, Kept, Services};
pub use upstreams::{Exchange, Upstreams};

/// A plugin, set up for one server block.
pub trait Plugin: Send + Sync + 'static {
    /// The directive.
    fn name(&self) -> &'static str;

    /// Answers, or passes on by `next.run(query)`. Where there is nothing to do, return that as it is: it costs no
    /// allocation.
    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a>;

    /// The same for the fast way. [`Step::Slow`] is always right.
    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let _ = fast;
        Step::Slow
    }

    /// Where its block is served, and as which zone; told once, when the whole Corefile is set up.
    fn serves(&self, block: &Block, at: &[(Address, Name)]) {
        let _ = (block, at);
    }

    /// What it knows of a question, by label (`kubernetes/namespace`). Asked before the plugins are, where `metadata`
    /// is on.
    fn metadata(&self, query: &Query, into: &mut BTreeMap<String, String>) {
        let _ = (query, into);
    }

    /// Its zones, where they may be copied out whole (`transfer`).
    fn transferable(&self) -> Option<&dyn Transferable> {
        None
    }

    /// The cluster's records as it answers them, where it does: for plugins that stand on another one (`autopath`,
    /// `k8s_external`).
    fn cluster(&self) -> Option<&Arc<ArcSwap<Records>>> {
        None
    }

    /// Why it can't do its work yet; None once it can. Asked by `ready`.
    fn not_ready(&self) -> Option<String> {
        None
    }

    /// How it is set up, in a line, for `bowline dns check` and `explain`.
    fn describe(&self) -> String {
        String::new()
    }
}

/// A plugin whose zones may be copied out whole.
pub trait Transferable {
    /// The zone of exactly this name; None if the plugin has none. What it says is one moment's state.
    ///
    /// # Errors
    /// The plugin has the zone but not its records, and why.
    fn zone(&self, zone: &Name) -> Option<Result<WholeZone, WholeZoneError>>;
}

/// Makes a plugin from all directives of its name in a block: repeated directives add up. None where it has no part in
/// answering (`bind` only says where to listen).
///
/// # Errors
/// A directive is wrong; the problem names its line and says what to do.
pub type SetUp = fn(&mut Building<'_>, &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError>;

/// The rest of the plugins of a block.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    pub(crate) plugins: &'a [Arc<dyn Plugin>],
}

impl<'a> Next<'a> {
    /// Passes the question on. After the last plugin it is SERVFAIL.
    pub fn run(self, query: &'a mut Query) -> Serving<'a> {
        match self.plugins.split_first() {
            Some((plugin, rest)) => {
                if let Some(trace) = &mut query.trace {
                    trace.steps.push((plugin.name(), Vec::new()));
                }
                plugin.serve(query, Next { plugins: rest })
            }
            None => {
                let last = query.block.plugins.last().map_or("", |plugin| plugin.name());
                ready(Err(QueryError::servfail("", format!("plugin/{last}: no next plugin found"))))
            }
        }
    }

    /// The plugin of that name among those that follow.
    pub fn find(&self, name: &str) -> Option<&'a Arc<dyn Plugin>> {
        self.plugins.iter().find(|plugin| plugin.name() == name)
    }
}

/// The directive, where a block may have it only once.
///
/// # Errors
/// There are more.
pub fn only_one<'a>(directives: &[&'a Directive]) -> Result<&'a Directive, CorefileError> {
    match directives {
        [one] => Ok(one),
        [first, again, ..] => {
            let line = first.place.line;
            Err(again.error(format!("is in this server block already, in line {line}; it may be there once")))
        }
        [] => Err(CorefileError::at(&SourceLine { file: "".into(), line: 0 }, "the directive is missing")),
    }
}
