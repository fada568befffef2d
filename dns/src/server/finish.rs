//! An outcome becomes the bytes of an answer: EDNS as the client asked for it, and no longer than it may be.

use super::Query;
use crate::cookie::Cookie;
use crate::plugin::Request;
use crate::reply::{Body, Outcome, Reply, flags_of_answer, opt_of};
use crate::wire::edns::{Edns, option};
use crate::wire::message::{Flags, Message};
use crate::wire::types::Rcode;
use crate::wire::walk;

/// EDNS options of a question that its answer may show again where no plugin has set them: EXPIRE (RFC 7314),
/// edns-tcp-keepalive (RFC 7828), padding (RFC 7830).
const ECHOED: [u16; 3] = [9, 11, 12];

/// The answer to a query; None where nothing is said.
pub(super) fn finish(query: &Query, outcome: Outcome) -> Option<Vec<u8>> {
    let mut reply = match outcome {
        Ok(None) => return None,
        Ok(Some(reply)) => reply,
        Err(failure) => {
            let mut message = query.reply();
            message.questions.clone_from(&query.request.message.questions);
            message.set_rcode(failure.rcode);
            Reply::new(message, failure.by)
        }
    };
    if let Body::Wire(bytes) = &mut reply.body
        && relay(query, bytes)
    {
        let Body::Wire(bytes) = reply.body else { return None };
        return Some(bytes);
    }
    let Ok(message) = reply.message() else {
        return bare(&query.request, Rcode::SERVFAIL);
    };
    message.id = query.request.message.id;
    message.flags.set_qr(true);
    let rcode = message.rcode();
    message.edns = query.request.message.edns.as_ref().map(|asked| {
        // `bufsize` and the like act on the query's own.
        let asked = query.edns.as_ref().unwrap_or(asked);
        edns(asked, message.edns.take(), &query.block.config.echoed_options, query.request.cookie)
    });
    message.set_rcode(rcode);
    let mut bytes = Vec::with_capacity(512);
    message.write_limited(&mut bytes, query.size());
    Some(bytes)
}

/// Makes an upstream's bytes the answer in place; false if they must be taken apart for that.
fn relay(query: &Query, bytes: &mut Vec<u8>) -> bool {
    let cookie = query.request.cookie;
    let added = if cookie.is_some() { 4 + size_of::<Cookie>() } else { 0 };
    if bytes.len() + added > query.size() || bytes.len() < 12 {
        return false;
    }
    let asked = query.request.message.edns.as_ref();
    let opt = opt_of(bytes);
    match (asked, opt) {
        (None, Ok(None)) => {}
        (Some(asked), Ok(Some(opt))) if bytes.get(opt.name).is_some_and(|root| *root == 0) => {
            let asked = query.edns.as_ref().unwrap_or(asked);
            // Size; then the extended rcode stays, version 0, DO as asked.
            let Some(fields) = bytes.get_mut(opt.name + 3..opt.name + 9) else { return false };
            fields[..2].copy_from_slice(&asked.size.to_be_bytes());
            fields[3..].copy_from_slice(&[0, u8::from(asked.dnssec_ok) << 7, 0]);
            if let Some(cookie) = cookie {
                // It has options of its own, or records stand behind it.
                if !opt.data.is_empty() || opt.data.end != bytes.len() {
                    return false;
                }
                bytes[opt.data.start - 1] = added as u8;
                bytes.extend([0, 10, 0, cookie.len() as u8]);
                bytes.extend(cookie);
            }
        }
        _ => return false,
    }
    // The same question, in the client's own letters.
    let raw = &query.request.raw;
    let Ok(end) = walk::skip_name(raw, 12) else { return false };
    let (Some(theirs), Some(ours)) = (bytes.get_mut(12..end + 4), raw.get(12..end + 4)) else { return false };
    if !theirs.eq_ignore_ascii_case(ours) {
        return false;
    }
    theirs.copy_from_slice(ours);
    bytes[..2].copy_from_slice(&query.request.message.id.to_be_bytes());
    true
}

/// EDNS of the answer to a client that asked with `asked`; `answered`: what plugins or an upstream put there; `echoed`: options
/// that are shown as they were asked, besides [`ECHOED`]; `cookie`: what is said to the client's.
fn edns(asked: &Edns, answered: Option<Edns>, echoed: &[u16], cookie: Option<Cookie>) -> Edns {
    let is_echoed = |(code, _): &&(u16, Vec<u8>)| ECHOED.contains(code) || echoed.contains(code);
    let mut options = match answered {
        Some(answered) => answered.options,
        None => asked.options.iter().filter(is_echoed).cloned().collect(),
    };
    if let Some(cookie) = cookie {
        options.retain(|(code, _)| *code != option::COOKIE);
        options.push((option::COOKIE, cookie.to_vec()));
    }
    Edns { size: asked.size, version: 0, dnssec_ok: asked.dnssec_ok, options, ..Edns::default() }
}

/// A message that says no more than this rcode.
pub(super) fn bare(request: &Request, rcode: Rcode) -> Option<Vec<u8>> {
    let asked = &request.message;
    let mut message = Message { id: asked.id, flags: flags_of_answer(asked.flags), ..Message::default() };
    message.questions.clone_from(&asked.questions);
    message.edns = asked.edns.as_ref().map(|asked| edns(asked, None, &[], request.cookie));
    message.set_rcode(rcode);
    let mut bytes = Vec::with_capacity(64);
    message.write(&mut bytes);
    Some(bytes)
}

/// Whether a header counts more than a question may carry (miekg's DefaultMsgAcceptFunc), be it there or not.
pub(super) fn counts_too_much(raw: &[u8]) -> bool {
    let Some(counts) = raw.get(4..12) else { return true };
    let [questions, answers, authorities, additionals] =
        [0, 2, 4, 6].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    questions != 1 || answers > 1 || authorities > 1 || additionals > 2
}

/// FORMERR for what can't be read beyond its header; None for what has none, or is an answer.
pub(super) fn format_error(raw: &[u8]) -> Option<Vec<u8>> {
    let header = raw.get(..12)?;
    let flags = Flags(u16::from_be_bytes([header[2], header[3]]));
    if flags.qr() {
        return None;
    }
    let mut message = Message { id: u16::from_be_bytes([header[0], header[1]]), ..Message::default() };
    message.flags = flags_of_answer(flags);
    message.set_rcode(Rcode::FORMERR);
    let mut bytes = Vec::with_capacity(12);
    message.write(&mut bytes);
    Some(bytes)
}
