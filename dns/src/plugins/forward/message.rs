//! The message that goes to an upstream: the client's own bytes where nothing has changed.

use crate::plugin::Query;
use crate::wire::edns::{Edns, option};
use crate::wire::{Type, walk};

/// Options that are between a client and us, and no matter of the upstream: RFC 7873 §5, RFC 7828 §3.1.
const OURS: [u16; 2] = [option::COOKIE, option::TCP_KEEPALIVE];

/// The message, its name at byte 12; None if it is not one question.
pub(super) fn of(query: &Query) -> Option<Vec<u8>> {
    let message = &query.request.message;
    let question = message.questions.first()?;
    let is_same = question.name.eq_exact(&query.question.name)
        && (question.rtype, question.class) == (query.question.rtype, query.question.class)
        && query.edns == message.edns;
    if is_same && !query.edns.as_ref().is_some_and(has_ours) && is_plain(&query.request.raw) {
        let mut bytes = query.request.raw.clone();
        bytes.get_mut(2..4)?.copy_from_slice(&query.flags.0.to_be_bytes());
        return Some(bytes);
    }
    let mut message = query.to_message();
    if let Some(edns) = &mut message.edns {
        edns.options.retain(|(code, _)| !OURS.contains(code));
    }
    let mut bytes = Vec::with_capacity(128);
    message.write(&mut bytes);
    Some(bytes)
}

fn has_ours(edns: &Edns) -> bool {
    edns.options.iter().any(|(code, _)| OURS.contains(code))
}

/// Whether there is nothing but the question and an OPT record.
fn is_plain(raw: &[u8]) -> bool {
    let Ok(end) = walk::questions_end(raw) else { return false };
    match raw.get(4..12) {
        Some([0, 1, 0, 0, 0, 0, 0, 0]) => end == raw.len(),
        Some([0, 1, 0, 0, 0, 0, 0, 1]) => {
            let opt = walk::records(raw).next().and_then(Result::ok);
            opt.is_some_and(|opt| opt.rtype == Type::OPT && opt.data.end == raw.len())
        }
        _ => false,
    }
}
