//! What TLS, HTTPS and QUIC are served with at one address: the block's certificate, and the protocol that is spoken
//! (ALPN, RFC 7301), so that a client of one is not taken for a client of another.

use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;

use crate::address::Transport;

/// The most streams of one QUIC connection that are open at once; each carries a question (RFC 9250 §4.2).
const STREAMS: u32 = 256;

/// The configuration of one address.
#[derive(Clone, Debug, Default)]
pub(super) enum Secure {
    /// Plain DNS and HTTP: there is no TLS, or a proxy in front has ended it.
    #[default]
    No,
    /// TLS, also beneath HTTPS.
    Tls(Arc<rustls::ServerConfig>),
    /// QUIC.
    Quic(Arc<quinn::ServerConfig>),
}

impl Secure {
    /// What `transport` is served with. QUIC connections end after `idle` without a packet.
    pub(super) fn new(transport: Transport, tls: &rustls::ServerConfig, idle: std::time::Duration) -> Secure {
        let mut tls = tls.clone();
        let protocols: &[&str] = match transport {
            Transport::Udp | Transport::Tcp => return Secure::No,
            Transport::Tls => &["dot"],
            Transport::Https => &["h2", "http/1.1"],
            Transport::Quic => &["doq"],
        };
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        if transport != Transport::Quic {
            return Secure::Tls(Arc::new(tls));
        }
        // Questions in the first flight can be replayed (RFC 9250 §4.5); they are not taken.
        tls.max_early_data_size = 0;
        let crypto = match QuicServerConfig::try_from(tls) {
            Ok(crypto) => crypto,
            Err(error) => {
                tracing::error!(%error, "QUIC can't be served with this TLS");
                return Secure::No;
            }
        };
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_bidi_streams(STREAMS.into()).max_concurrent_uni_streams(0u8.into());
        // A span that QUIC can't write would be of millions of years.
        transport.max_idle_timeout(idle.try_into().ok());
        config.transport_config(Arc::new(transport));
        Secure::Quic(Arc::new(config))
    }
}
