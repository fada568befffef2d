//! Where messages go: a socket that is connected to, or one at which receivers connect.

use crate::corefile::SetupError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::super::tls;

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
/// One of them.
pub(super) type Any = Box<dyn Stream>;

/// A socket, as the Corefile names it.
#[derive(Clone)]
pub(super) enum Endpoint {
    Connect(To),
    Listen(At),
}

#[derive(Clone)]
pub(super) enum To {
    Unix(PathBuf),
    /// Host and port; bytes of the socket's buffer; TLS, and by which name.
    Tcp {
        host: String,
        buffer: usize,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    },
}

#[derive(Clone)]
pub(super) enum At {
    Unix(PathBuf),
    Tcp { address: SocketAddr, tls: Option<Arc<ServerConfig>> },
}

enum Scheme {
    Unix,
    Tcp,
    Tls,
}

fn split(socket: &str) -> (Scheme, &str) {
    match socket.split_once("://") {
        Some(("tcp", host)) => (Scheme::Tcp, host),
        Some(("tls", host)) => (Scheme::Tls, host),
        Some(("unix", path)) => (Scheme::Unix, path),
        _ => (Scheme::Unix, socket),
    }
}

impl Endpoint {
    /// A socket to connect to.
    pub(super) fn connecting(
        socket: &str,
        skips: bool,
        buffer: usize,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Endpoint, SetupError> {
        let (scheme, rest) = split(socket);
        if matches!(scheme, Scheme::Unix) {
            return Ok(Endpoint::Connect(To::Unix(path(rest))));
        }
        let wrong = || format!("{socket:?} needs a host and a port, as in tcp://127.0.0.1:6000");
        let host = rest.trim_end_matches('/');
        let (name, port) = host.rsplit_once(':').ok_or_else(wrong)?;
        if name.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong().into());
        }
        let tls = if matches!(scheme, Scheme::Tls) {
            let name = name.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| wrong())?;
            Some((Arc::new(tls::of_client(skips)?), name))
        } else {
            None
        };
        Ok(Endpoint::Connect(To::Tcp { host: host.to_owned(), buffer, tls }))
    }

    /// A socket at which receivers connect.
    pub(super) fn listening(
        socket: &str,
        tls: Option<Arc<ServerConfig>>,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Endpoint, SetupError> {
        let (scheme, rest) = split(socket);
        let needs = matches!(scheme, Scheme::Tls);
        if needs != tls.is_some() {
            let what = if needs { "needs a certificate: add tls CERT KEY" } else { "is not served by TLS: remove tls" };
            return Err(format!("{socket} {what}").into());
        }
        if matches!(scheme, Scheme::Unix) {
            return Ok(Endpoint::Listen(At::Unix(path(rest))));
        }
        let wrong = |_| format!("{socket:?} needs an IP address and a port, as in tcp://127.0.0.1:6000");
        let address = rest.trim_end_matches('/').parse().map_err(wrong)?;
        Ok(Endpoint::Listen(At::Tcp { address, tls }))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Connect(To::Unix(path)) => write!(f, "{}", path.display()),
            Endpoint::Connect(To::Tcp { host, tls: None, .. }) => write!(f, "tcp://{host}"),
            Endpoint::Connect(To::Tcp { host, .. }) => write!(f, "tls://{host}"),
            Endpoint::Listen(At::Unix(path)) => write!(f, "who connects to {}", path.display()),
            Endpoint::Listen(At::Tcp { address, .. }) => write!(f, "who connects to {address}"),
        }
    }
}

impl To {
    /// Connects.
    pub(super) async fn connect(&self) -> io::Result<Any> {
        let (host, buffer, tls) = match self {
            To::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            To::Tcp { host, buffer, tls } => (host, *buffer, tls),
        };
        let stream = TcpStream::connect(host).await?;
        // The kernel cuts it to net.core.wmem_max. A smaller one is no reason not to send.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, buffer);
        match tls {
            None => Ok(Box::new(stream)),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
        }
    }
}

/// A listener of either kind.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener, Option<Arc<ServerConfig>>),
}

impl At {
    /// Listens. A socket's file that was left there is replaced.
    pub(super) fn listen(&self) -> io::Result<Listener> {
        match self {
            At::Unix(path) => {
                use std::os::unix::fs::FileTypeExt as _;
                if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
            At::Tcp { address, tls } => {
                // Over a reload the old one still listens for a moment.
                let options = bowline_sys::listen::Options { reuse_port: true, ..Default::default() };
                let listener = TcpListener::from_std(bowline_sys::listen::tcp(*address, options)?)?;
                Ok(Listener::Tcp(listener, tls.clone()))
            }
        }
    }
}

/// A receiver that has connected, before its handshake.
pub(super) enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, Option<Arc<ServerConfig>>),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
            Listener::Tcp(listener, tls) => Ok(Accepted::Tcp(listener.accept().await?.0, tls.clone())),
        }
    }
}

impl Accepted {
    pub(super) async fn shake_hands(self) -> io::Result<Any> {
        match self {
            Accepted::Unix(stream) => Ok(Box::new(stream)),
            Accepted::Tcp(stream, None) => Ok(Box::new(stream)),
            Accepted::Tcp(stream, Some(tls)) => {
                Ok(Box::new(tokio_rustls::TlsAcceptor::from(tls).accept(stream).await?))
            }
        }
    }
}
