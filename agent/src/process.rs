//! What every command that serves does first, so that it outlives where it was started from.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::log::{self, Format};

/// Starts logging, takes as many files as the system allows, and stays when its terminal goes.
pub fn start(format: Format, verbosity: u8) {
    log::start(format, verbosity);
    crate::panic::watch();
    raise_file_limit();
    if let Err(error) = outlive_terminal() {
        tracing::warn!(%error, "SIGHUP can't be caught: the end of this terminal would end the server");
    }
}

/// As many files and connections as the system allows: the folder's watches must not want for any.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// SIGHUP, which a terminal that closes sends, does nothing from now on, as with CoreDNS.
fn outlive_terminal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    // The handler outlives the runtime; nobody asks whether the signal has come.
    signal(SignalKind::hangup()).map(drop)
}
