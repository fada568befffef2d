//! What a plugin is set up with.

use crate::corefile::SetupError;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::page::{Handler, Routes};
use super::{BlockConfig, Plugin, Services};
use crate::corefile::{Key, SourceLine};
use crate::wire::name::Name;

/// How the Corefile is looked at for changes (`reload`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How often; jitter is in it.
    pub interval: Duration,
}

/// A task of an instance.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the blocks of an instance have asked for besides.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) tasks: Vec<(&'static str, Task)>,
    pub(crate) routes: Routes,
    pub(crate) lameduck: Duration,
    pub(crate) reload: Option<Reload>,
}

/// What a plugin is set up with.
pub struct Building<'a> {
    /// The zones of the block's keys.
    pub zones: &'a [Name],
    /// The block's keys.
    pub keys: &'a [Key],
    /// Where the block begins.
    pub place: &'a SourceLine,
    /// The folder to which relative paths refer: the Corefile's, or `root`'s.
    pub folder: PathBuf,
    /// What all blocks share.
    pub services: &'a Arc<Services>,
    /// What this block says to the server.
    pub block: &'a mut BlockConfig,
    /// Plugins of this block that are set up already, in order: `autopath @kubernetes` finds its partner only later
    /// ([`super::Next::find`]), as it stands in front of it.
    pub plugins: &'a [Arc<dyn Plugin>],
    /// Names of all directives of the block.
    pub directives: &'a [String],
    pub(crate) wishes: &'a mut Wishes,
}

impl Building<'_> {
    /// A path as the Corefile writes it.
    pub fn path(&self, path: &str) -> PathBuf {
        if Path::new(path).is_absolute() { path.into() } else { self.folder.join(path) }
    }

    /// Runs a task in the background, from when the instance serves until it is replaced. It runs on a thread of
    /// its own kind, never on those that answer.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.wishes.tasks.push((name, Box::pin(task)));
    }

    /// Serves a page over HTTP at an address as Go writes it (`:8080`, `localhost:8080`). Several plugins may share an
    /// address.
    ///
    /// # Errors
    /// The address can't be read.
    pub fn page(&mut self, address: &str, path: &'static str, handler: Handler) -> Result<(), SetupError> {
        for address in super::page::addresses(address, &self.services.node_local)? {
            self.wishes.routes.entry(address).or_default().insert(path, handler.clone());
        }
        Ok(())
    }

    /// How long everything goes on after the end was asked for; the longest of all blocks counts.
    pub fn lameduck(&mut self, time: Duration) {
        self.wishes.lameduck = self.wishes.lameduck.max(time);
    }

    /// The Corefile is looked at for changes.
    pub fn reload(&mut self, reload: Reload) {
        self.wishes.reload = Some(reload);
    }
}
