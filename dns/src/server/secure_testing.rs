//! For tests: a server with a certificate, and the clients of others that ask it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bowline_lab::kubernetes::{Authority, Certificate};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Running, Settings};
use crate::plugin::Services;
use crate::plugins::testing::services;

/// A server with one block for `example.org`, and what a client needs.
pub(crate) struct Case {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) services: Arc<Services>,
    pub(crate) running: Running,
    pub(crate) client: Certificate,
}

/// A port that is free for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts one: `scheme` as in a Corefile's key, `tls` what follows certificate and key, `lines` further directives.
pub(crate) fn start(scheme: &str, tls: &str, lines: &str) -> Case {
    start_by(|conf, port| write(conf, scheme, port, tls, lines))
}

/// Starts one with the Corefile that is written for a port.
pub(crate) fn start_by(write: impl Fn(&Path, u16)) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "test").unwrap();
    authority.server("server", &["localhost", "dns.test"], &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
    let client = authority.client("client", "client", &[]).unwrap();
    let port = free_port();
    let conf = folder.path().join("Corefile");
    write(&conf, port);
    let services = services();
    let settings = Settings { conf, port: 53, threads: 2, prepare: None, ahead: None };
    let running = Running::start(settings, services.clone()).unwrap();
    Case { folder, port, services, running, client }
}

/// The same without `tls`, as behind a proxy that has ended TLS.
pub(crate) fn start_behind_proxy(scheme: &str, lines: &str) -> Case {
    start_by(|conf, port| {
        std::fs::write(conf, format!("{scheme}://example.org:{port} {{\n{lines}\n}}\n")).unwrap();
    })
}

fn write(conf: &Path, scheme: &str, port: u16, tls: &str, lines: &str) {
    let text = format!("{scheme}://example.org:{port} {{\n tls server.crt server.key {tls}\n{lines}\n}}\n");
    std::fs::write(conf, text).unwrap();
}

/// Answers that fill more than a datagram.
pub(crate) fn many_hosts() -> String {
    let lines: String = (0..200).map(|n| format!("10.0.{}.{} many.example.org\n", n / 200, n % 200 + 1)).collect();
    format!("hosts {{\n{lines} 10.1.0.1 one.example.org\n}}")
}

impl Case {
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// Runs a program; what it printed to both of its outputs.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// kdig, which trusts the authority: `+tls-ca=`.
    pub(crate) fn kdig(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let trust = format!("+tls-ca={}", self.path("ca.crt"));
        let common = ["@127.0.0.1", "-p", &port, "+tls-hostname=localhost", &trust, "+timeout=20", "+retry=0"];
        self.run("kdig", &[&common[..], args].concat())
    }
}

/// Sends each by QUIC on a stream of its own of one connection; the answers, or the code with which the connection was closed.
pub(crate) fn ask_quic(case: &Case, port: u16, streams: &[&[u8]]) -> Result<Vec<Vec<u8>>, u64> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(case.path("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"doq".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let address = format!("127.0.0.1:{}", port).parse().unwrap();
        let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
        let mut answers = Vec::new();
        for stream in streams {
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            send.write_all(stream).await.unwrap();
            send.finish().unwrap();
            match receive.read_to_end(1 << 20).await {
                Ok(answer) => answers.push(answer),
                Err(_) => match connection.closed().await {
                    quinn::ConnectionError::ApplicationClosed(close) => return Err(close.error_code.into_inner()),
                    other => panic!("{other}"),
                },
            }
        }
        Ok(answers)
    })
}
