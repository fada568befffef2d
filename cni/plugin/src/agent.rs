//! The agent of the node, asked over its socket.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use bowline_cni_protocol::wire::{self, WireError};
use bowline_cni_protocol::{CniError, Reply, Request};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Away {
    /// What went wrong.
    pub(crate) error: WireError,
    /// Whether it may have got the request all the same.
    pub(crate) may_have_it: bool,
}

impl Away {
    /// The error for a runtime.
    pub(crate) fn error(&self, code: u32, request: &Request) -> CniError {
        if let WireError::TooLong(length) = self.error {
            let message =
                format!("the request is too long for the agent: {length} bytes of configuration and variables");
            return CniError::new(CniError::INVALID_CONFIG, message);
        }
        let socket = request.config.socket();
        let message = format!("the agent does not answer at {socket}: {}", self.error);
        CniError::new(code, message).with_details("is Bowline's agent running on this node, and its start done?")
    }
}

/// Asks the agent, and waits as long as `limit` for its answer.
pub(crate) fn ask(request: &Request, netns: Option<BorrowedFd<'_>>, limit: Duration) -> Result<Reply, Away> {
    let deadline = Instant::now() + limit;
    let before = |error| Away { error, may_have_it: false };
    let after = |error| Away { error, may_have_it: true };
    let stream = wire::connect(Path::new(request.config.socket()), deadline).map_err(before)?;
    wire::send_request(&stream, request, netns, deadline).map_err(|error| match error {
        WireError::TooLong(_) => before(error),
        error => after(error),
    })?;
    wire::receive_reply(&stream, deadline).map_err(after)
}
