//! The words for each cause, as CoreDNS logs it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use super::*;

fn io(error: io::Error, by: By) -> String {
    of(&UpstreamError::Io("127.0.0.1:53".parse().unwrap(), Arc::new(error)), by)
}

#[test]
fn causes_are_told_as_go_tells_them() {
    let to = "127.0.0.1:53".parse().unwrap();
    let silent = UpstreamError::Silent(to, Duration::from_secs(2));
    assert_eq!(of(&silent, By::Udp), "read udp 127.0.0.1:0->127.0.0.1:53: i/o timeout");
    assert_eq!(of(&silent, By::Tcp), "read tcp 127.0.0.1:0->127.0.0.1:53: i/o timeout");
    assert_eq!(
        of(&UpstreamError::Silent("[::1]:53".parse().unwrap(), Duration::ZERO), By::Udp),
        "read udp [::1]:0->[::1]:53: i/o timeout"
    );
    assert_eq!(of(&UpstreamError::Closed(to), By::Tcp), "EOF");
    for (errno, by, says) in [
        (111, By::Udp, "read udp 127.0.0.1:0->127.0.0.1:53: read: connection refused"),
        (111, By::Tcp, "dial tcp 127.0.0.1:53: connect: connection refused"),
        (104, By::Tcp, "read tcp 127.0.0.1:0->127.0.0.1:53: read: connection reset by peer"),
        (32, By::Tcp, "write tcp 127.0.0.1:0->127.0.0.1:53: write: broken pipe"),
        (101, By::Udp, "dial udp 127.0.0.1:53: connect: network is unreachable"),
        (113, By::Tcp, "dial tcp 127.0.0.1:53: connect: no route to host"),
        (1, By::Udp, "write udp 127.0.0.1:0->127.0.0.1:53: write: operation not permitted"),
    ] {
        assert_eq!(io(io::Error::from_raw_os_error(errno), by), says);
    }
    assert_eq!(io(io::ErrorKind::TimedOut.into(), By::Tcp), "dial tcp 127.0.0.1:53: i/o timeout");
    let tls = |error: TlsError| io(io::Error::new(io::ErrorKind::InvalidData, error), By::Tcp);
    for (error, says) in [
        (
            TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (
            TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            "tls: first record does not look like a TLS handshake",
        ),
        (TlsError::AlertReceived(AlertDescription::HandshakeFailure), "remote error: tls: handshake failure"),
        (TlsError::AlertReceived(AlertDescription::UnknownCA), "remote error: tls: unknown certificate authority"),
    ] {
        assert_eq!(tls(error), says);
    }
    // As the connection's own words have it.
    let issuer =
        io::Error::new(io::ErrorKind::InvalidData, TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
    assert_eq!(
        io(bowline_tls::explain(issuer), By::Tcp),
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    let expired = tls(TlsError::InvalidCertificate(CertificateError::Expired));
    assert!(expired.contains("x509: certificate has expired or is not yet valid"), "{expired}");
}
