//! What went wrong with an etcd, in words that name the endpoint and say what to do.

use std::error::Error as _;

use bowline_cluster::span;
use bowline_tls::Files;

/// A failure, with the endpoint where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct EtcdError {
    /// What sort of failure it is.
    pub kind: ErrorKind,
    text: String,
}

/// Sorts of failures, for those who act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// What was given is wrong here: a file that can't be read, a password that is missing.
    Local,
    /// The certificates don't fit: a name, an authority, a client's certificate.
    Tls,
    /// The user is unknown, the password wrong, or a user is wanted.
    Login,
    /// The token has expired, or is older than the last change of users; log in again.
    Token,
    /// The user may not.
    Forbidden,
    /// The revision is compacted: what changed since is lost; list anew.
    Compacted,
    /// The answer is larger than [`super::MAX_MESSAGE`].
    TooLarge,
    /// Nobody listens there, or there is no leader, or the connection broke; later or elsewhere it may work.
    Unreachable,
    /// Somebody was connected or should be, and says nothing.
    Silent,
    /// All else.
    Other,
}

/// Codes of gRPC, as its specification numbers them.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl EtcdError {
    /// A failure at this endpoint, for this reason.
    pub fn new(kind: ErrorKind, endpoint: &str, reason: impl std::fmt::Display) -> EtcdError {
        EtcdError { kind, text: format!("{endpoint}: {reason}") }
    }

    /// The failures of several endpoints as one; what a person can mend counts before what is just away.
    pub fn all(errors: Vec<EtcdError>) -> EtcdError {
        let kind = errors.iter().map(|error| error.kind).min().unwrap_or(ErrorKind::Other);
        let text = errors.into_iter().map(|error| error.text).collect::<Vec<_>>().join("; ");
        EtcdError { kind, text }
    }

    /// Nothing came back in time.
    pub fn silent(endpoint: &str, after: std::time::Duration) -> EtcdError {
        let reason = format!(
            "no answer within {}; is the address right, does a firewall drop it, has etcd a quorum?",
            span::human(after)
        );
        EtcdError::new(ErrorKind::Silent, endpoint, reason)
    }

    /// What etcd-client says; `prefix` is what was read or written.
    pub fn of(error: &etcd_client::Error, endpoint: &str, prefix: &str) -> EtcdError {
        use etcd_client::Error as Said;
        let (status, text) = match error {
            Said::GRpcStatus(status) => (Some(i32::from(status.code())), chain(status.message(), status.source())),
            Said::TransportError(error) => (None, chain(&error.to_string(), error.source())),
            other => (None, other.to_string()),
        };
        // So says the transport of a request that took too long.
        if text.contains("Timeout expired") {
            return EtcdError::silent(endpoint, super::REQUEST_TIMEOUT);
        }
        let (kind, what_to_do) = classify(status, &text);
        let what_to_do = what_to_do.replace("PREFIX", prefix);
        let text = text.strip_prefix("etcdserver: ").unwrap_or(&text);
        let reason = if what_to_do.is_empty() { text.to_owned() } else { format!("{text}; {what_to_do}") };
        EtcdError::new(kind, endpoint, reason)
    }

    /// The same, of a connection that has not worked yet.
    pub fn of_connect(error: &etcd_client::Error, endpoint: &str, prefix: &str) -> EtcdError {
        let EtcdError { kind, text } = EtcdError::of(error, endpoint, prefix);
        // A server that refuses what it was sent closes, and what it says of that may not come through.
        if !["broken pipe", "connection closed", "connection reset", "reset by peer"]
            .iter()
            .any(|part| text.contains(part))
        {
            return EtcdError { kind, text };
        }
        let hint = if endpoint.starts_with("https://") {
            "if it stays so, the server may want another client's certificate; look at cert= and key=, and at its log"
        } else {
            "if it stays so, the server may speak TLS; write https://"
        };
        EtcdError { kind, text: format!("{text}; {hint}") }
    }

    /// With what is known to be wrong with our own files, if certificates are the trouble.
    #[must_use]
    pub fn with_doubts(mut self, files: &Files) -> EtcdError {
        if self.kind == ErrorKind::Tls {
            files.doubts().iter().for_each(|doubt| self.text.extend(["; ", doubt]));
        }
        self
    }

    /// Why the server gave up a watch; `compacted` is the revision up to which changes are lost, or 0.
    pub fn of_watch(endpoint: &str, prefix: &str, compacted: i64, reason: &str) -> EtcdError {
        if compacted > 0 {
            let reason = format!("changes up to revision {compacted} are compacted");
            return EtcdError::new(ErrorKind::Compacted, endpoint, reason);
        }
        let (kind, what_to_do) = classify(None, reason);
        let what_to_do = what_to_do.replace("PREFIX", prefix);
        EtcdError::new(kind, endpoint, format!("the watch was ended: {reason}; {what_to_do}"))
    }
}

/// An error's text with those of what caused it.
pub(super) fn chain_of(error: &tonic::transport::Error) -> String {
    chain(&error.to_string(), error.source())
}

/// An error's own text and those of what caused it, without what repeats.
fn chain(text: &str, mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut texts = vec![text.to_owned()];
    while let Some(error) = source {
        let next = error.to_string();
        if !texts.iter().any(|text| text.contains(&next)) {
            texts.push(next);
        }
        source = error.source();
    }
    // These say nothing that the next one doesn't.
    if texts.len() > 1 {
        texts.retain(|text| !["transport error", "client error (Connect)", "tcp connect error"].contains(&&**text));
    }
    texts.join(": ")
}

/// The sort of a failure by its code and text, and what to do.
fn classify(status: Option<i32>, text: &str) -> (ErrorKind, &'static str) {
    use ErrorKind::{Compacted, Forbidden, Local, Login, Other, Silent, Tls, Token, TooLarge, Unreachable};
    const TEXTS: &[(&str, ErrorKind, &str)] = &[
        (
            "not valid for name",
            Tls,
            "the server's certificate names other hosts; use one of its names in the URL, or give the server a \
             certificate that has this one",
        ),
        (
            "UnknownIssuer",
            Tls,
            "the server's certificate is from another authority; give the right one with cacert=FILE",
        ),
        (
            "BadSignature",
            Tls,
            "the server's certificate is from another authority; give the right one with cacert=FILE",
        ),
        ("was not named itself", Tls, "give it, or that of who has signed it, with cacert=FILE"),
        ("certificate expired", Tls, "the server's certificate has expired; renew it (and look at the clocks)"),
        ("certificate not valid yet", Tls, "the server's certificate is not valid yet; look at the clocks"),
        ("CertificateRequired", Tls, "the server wants a client's certificate; give cert=FILE and key=FILE"),
        ("BadCertificate", Tls, "the server refuses the client's certificate; give the right cert=FILE and key=FILE"),
        ("UnknownCA", Tls, "the server doesn't trust who signed the client's certificate; give the right cert=FILE"),
        ("DecryptError", Tls, "the server refuses the client's certificate; give the right cert=FILE and key=FILE"),
        ("CertificateExpired", Tls, "the client's certificate has expired; renew the file of cert="),
        (
            "received fatal alert",
            Tls,
            "the server refuses the client's certificate, or wants one; look at cert= and key=",
        ),
        ("received corrupt message", Tls, "the server does not speak TLS; write http:// if that is wanted"),
        ("tls handshake eof", Tls, "the server has ended the handshake; if it does not speak TLS, write http://"),
        ("InvalidContentType", Tls, "the server does not speak TLS; write http:// if that is wanted"),
        (
            "invalid peer certificate",
            Tls,
            "the server's certificate is refused; look at cacert= and at the certificate",
        ),
        ("invalid user ID or password", Login, "look at user= and the password"),
        ("user name is empty", Login, "the server wants a user; add user=NAME&password-file=FILE, or a certificate"),
        ("authentication is not enabled", Login, "the server has no users; leave out user="),
        ("user name not found", Login, "the server knows no such user; look at user="),
        ("invalid auth token", Token, ""),
        ("revision in header is old", Token, ""),
        (
            "permission denied",
            Forbidden,
            "let the user read there: etcdctl role grant-permission ROLE read --prefix=true PREFIX (readwrite for \
             those who apply, and for nodes)",
        ),
        ("has been compacted", Compacted, ""),
        ("message length too large", TooLarge, ""),
        ("request timed out", Silent, "has etcd a quorum?"),
        ("no leader", Unreachable, "most members must be there and reach each other"),
        ("Connection refused", Unreachable, "nothing listens there; is etcd running, is the port right?"),
        ("dns error", Unreachable, "the name of the host is not known; look at the URL"),
        ("failed to lookup", Unreachable, "the name of the host is not known; look at the URL"),
        ("No CA certificates", Local, "give one with cacert=FILE"),
    ];
    if let Some((_, kind, what_to_do)) = TEXTS.iter().find(|(part, ..)| text.contains(part)) {
        return (*kind, what_to_do);
    }
    match status {
        Some(code::PERMISSION_DENIED) => (Forbidden, ""),
        Some(code::UNAUTHENTICATED) => (Token, ""),
        Some(code::OUT_OF_RANGE) => (TooLarge, ""),
        Some(code::CANCELLED | code::UNAVAILABLE | code::RESOURCE_EXHAUSTED) => (Unreachable, ""),
        Some(code::DEADLINE_EXCEEDED) => (Silent, ""),
        Some(code::UNKNOWN) | None => (Unreachable, ""),
        Some(_) => (Other, ""),
    }
}

#[cfg(test)]
mod tests;
