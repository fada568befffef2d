//! Why an upstream gave no answer, in the words of CoreDNS, which are those of Go's library: the patterns that people
//! have for their logs (`i/o timeout$`, `connection refused`) are made for them.
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::upstream::{By, UpstreamError};

/// No upstream was asked, as all are down.
pub(super) const NO_HEALTHY: &str = "no healthy proxies";

/// What Go's library says of the system's errors that a socket may meet.
const ERRNOS: [(i32, &str); 14] = [
    (1, "operation not permitted"),
    (13, "permission denied"),
    (22, "invalid argument"),
    (24, "too many open files"),
    (32, "broken pipe"),
    (90, "message too long"),
    (97, "address family not supported by protocol"),
    (99, "cannot assign requested address"),
    (100, "network is down"),
    (101, "network is unreachable"),
    (104, "connection reset by peer"),
    (110, "connection timed out"),
    (111, "connection refused"),
    (113, "no route to host"),
];

const UNKNOWN_ISSUER: &str = "certificate signed by unknown authority";

/// What goes wrong at which step of a question.
enum Step {
    Dial,
    Read,
    Write,
}

/// The reason for a question that went out `by`.
pub(super) fn of(trouble: &UpstreamError, by: By) -> String {
    match trouble {
        UpstreamError::Silent(to, _) => format!("read {}: i/o timeout", way(by, *to)),
        UpstreamError::Closed(_) => "EOF".to_owned(),
        UpstreamError::Io(to, error) => of_io(*to, error, by),
        // What Go's library knows no such error for.
        other => format!("dns: {other}"),
    }
}

fn of_io(to: SocketAddr, error: &io::Error, by: By) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return of_tls(error);
    }
    let net = net(by);
    let Some(errno) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::TimedOut => format!("dial {net} {to}: i/o timeout"),
            io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            // An ICMP error that came without its number.
            io::ErrorKind::ConnectionRefused => format!("read {}: read: connection refused", way(by, to)),
            _ => match error.to_string().strip_prefix("invalid peer certificate: ") {
                // As `bowline_tls` explains it.
                Some(why) if why.starts_with("UnknownIssuer") => certificate(UNKNOWN_ISSUER),
                Some(why) => certificate(why),
                None => format!("dial {net} {to}: {error}"),
            },
        };
    };
    let known = ERRNOS.iter().find(|(number, _)| *number == errno);
    let what = known.map_or_else(|| error.to_string().to_lowercase(), |(_, what)| (*what).to_owned());
    let step = match errno {
        // A datagram's refusal is read; a connection's comes while it is opened.
        111 if by == By::Udp => Step::Read,
        104 => Step::Read,
        1 | 32 | 90 => Step::Write,
        _ => Step::Dial,
    };
    match step {
        Step::Dial => format!("dial {net} {to}: connect: {what}"),
        Step::Read => format!("read {}: read: {what}", way(by, to)),
        Step::Write => format!("write {}: write: {what}", way(by, to)),
    }
}

fn certificate(what: &str) -> String {
    format!("tls: failed to verify certificate: x509: {what}")
}

fn of_tls(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => certificate(UNKNOWN_ISSUER),
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                certificate(&format!("certificate has expired or is not yet valid: {why}"))
            }
            CertificateError::NotValidForName => certificate("certificate is not valid for the server's name"),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = presented.join(", ");
                certificate(&format!("certificate is valid for {names}, not {}", expected.to_str()))
            }
            other => certificate(&other.to_string()),
        },
        TlsError::InvalidMessage(_) => "tls: first record does not look like a TLS handshake".to_owned(),
        TlsError::AlertReceived(alert) => format!("remote error: tls: {}", of_alert(*alert)),
        other => format!("tls: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let known = match alert {
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("{other:?}").to_lowercase(),
    };
    known.to_owned()
}

fn net(by: By) -> &'static str {
    if by == By::Udp { "udp" } else { "tcp" }
}

/// `udp 10.0.0.1:0->8.8.8.8:53`: from where a question goes there. The port is not told: questions share sockets.
fn way(by: By, to: SocketAddr) -> String {
    let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
    // Nothing is sent: the kernel says which address it would choose.
    let from = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    format!("{} {}->{to}", net(by), SocketAddr::new(from.unwrap_or(any).ip(), 0))
}
