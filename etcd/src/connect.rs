//! A connection to one endpoint of an etcd, made anew with what the files say now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{BalancedChannelBuilder, Channel, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use http::Uri;
use rustls::client::danger::ServerCertVerifier;
use tokio::sync::mpsc::{self, Sender};
use tonic::transport::Endpoint;
use tonic::transport::channel::Change;

use super::error::{ErrorKind, EtcdError};
use super::location::User;
use super::{Keys, Location};
use bowline_tls::Files;

/// How long one endpoint may take until it has answered the first request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take until its answer begins.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pings while nothing else is said, and how long an answer may take. etcd takes more than one in 5 s for an
/// attack (its `--grpc-keepalive-min-time`).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// The largest answer that is taken, in bytes. An object in etcd has 1.5 MiB at most as etcd comes.
pub const MAX_MESSAGE: usize = 64 << 20;

/// A connection to an endpoint that has answered. It is not made anew by itself with other certificates:
/// whoever keeps it for long drops it after a failure and connects again.
#[derive(Clone)]
pub struct Connection {
    /// etcd-client's, connected to this endpoint only.
    pub client: Client,
    /// The endpoint's URL.
    pub endpoint: String,
    /// The id of the cluster that answered. One restored from a backup may have the same.
    pub cluster_id: u64,
    /// The revision of the cluster when it answered; agreed on by most members.
    pub revision: i64,
    keys: Keys,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Location {
    /// Connects to the first endpoint that answers. The error names each and what is wrong there.
    pub async fn connect(&self) -> Result<Connection, EtcdError> {
        let mut errors = Vec::new();
        for endpoint in self.endpoints() {
            match self.connect_to(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => errors.push(error),
            }
        }
        Err(EtcdError::all(errors))
    }

    /// Connects to this endpoint, logs in, and reads one key of the objects: an endpoint that can't is of no
    /// use, whatever is asked of it next.
    pub async fn connect_to(&self, endpoint: &str) -> Result<Connection, EtcdError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(EtcdError::silent(endpoint, CONNECT_TIMEOUT)),
        }
    }

    async fn try_connect(&self, endpoint: &str) -> Result<Connection, EtcdError> {
        let objects = self.keys().objects();
        let said = |error| EtcdError::of_connect(&error, endpoint, &objects);
        let options = self.options(endpoint)?;
        let client = client(endpoint, options, &self.files()).await.map_err(|error| match error {
            Failed::Here(reason) => EtcdError::new(ErrorKind::Local, endpoint, reason),
            Failed::There(error) => said(error).with_doubts(&self.files()),
        })?;
        let one = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
        let answer = client.kv_client().get(objects.clone(), Some(one)).await.map_err(said)?;
        let (cluster_id, revision) = answer.header().map_or((0, 0), |header| (header.cluster_id(), header.revision()));
        Ok(Connection { client, endpoint: endpoint.to_owned(), cluster_id, revision, keys: self.keys().clone() })
    }

    fn options(&self, endpoint: &str) -> Result<ConnectOptions, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(user) = &self.user {
            options = options.with_user(&user.name, password(user, endpoint)?);
        }
        Ok(options)
    }

    /// What TLS is spoken with.
    pub fn files(&self) -> Files {
        let own = self.identity.as_ref().map(|identity| (identity.cert.clone(), identity.key.clone()));
        Files { authority: self.cacert.clone(), own }
    }
}

/// Why there is no client.
pub(super) enum Failed {
    /// What was given can't be used.
    Here(String),
    /// The server has refused, or isn't there.
    There(etcd_client::Error),
}

/// A client of one endpoint, with TLS by what the files say now where the endpoint has it.
pub(super) async fn client(endpoint: &str, options: ConnectOptions, files: &Files) -> Result<Client, Failed> {
    if !endpoint.starts_with("https://") {
        return Client::connect([endpoint], Some(options)).await.map_err(Failed::There);
    }
    let secured = Secured::new(endpoint, files).map_err(Failed::Here)?;
    Client::connect_with_balanced_channel([endpoint], Some(options), secured).await.map_err(Failed::There)
}

/// Makes the channel of a client that trusts whom we trust: etcd-client itself takes authorities only.
struct Secured {
    tls: TlsOptions,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Secured {
    fn new(endpoint: &str, files: &Files) -> Result<Secured, String> {
        let authority = Files { own: None, ..files.clone() };
        let verifier = authority.verifier().map_err(|reason| format!("cacert={reason}"))?;
        let mut tls = TlsOptions::new();
        if let Some((cert, key)) = &files.own {
            let parameter = |reason: &str| {
                if reason.starts_with(&*key.to_string_lossy()) { "key" } else { "cert" }
            };
            files.load().map_err(|error| format!("{}={error}", parameter(&error.to_string())))?;
            if let Some(reason) = files.unshowable() {
                return Err(format!("cert={reason}"));
            }
            let read = |file: &Path| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        let secured = Secured { tls, verifier };
        // What is wrong with them for tonic is seen here: of what is put into a channel nobody hears.
        let tried = Endpoint::from_shared(endpoint.to_owned()).and_then(|endpoint| secured.apply(endpoint));
        match tried {
            Ok(_) => Ok(secured),
            Err(error) => Err(format!("TLS can't be set up: {}", super::error::chain_of(&error))),
        }
    }

    fn apply(&self, endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
        endpoint.tls_config_with_verifier(self.tls.clone(), self.verifier.clone())
    }
}

impl BalancedChannelBuilder for Secured {
    type Error = etcd_client::Error;

    fn balanced_channel(self, size: usize) -> Result<(Channel, Sender<Change<Uri, Endpoint>>), Self::Error> {
        let (channel, endpoints) = tonic::transport::Channel::balance_channel(size);
        let (sender, mut changes) = mpsc::channel(size);
        // Ends with the client.
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                let change = match change {
                    Change::Insert(uri, endpoint) => match self.apply(endpoint) {
                        Ok(endpoint) => Change::Insert(uri, endpoint),
                        // Not reached: it was tried.
                        Err(_) => continue,
                    },
                    gone @ Change::Remove(_) => gone,
                };
                if endpoints.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok((Channel::Tonic(channel), sender))
    }
}

fn read(file: &Path, parameter: &str, endpoint: &str) -> Result<Vec<u8>, EtcdError> {
    std::fs::read(file).map_err(|error| {
        let reason = format!("{parameter}={} can't be read: {error}", file.display());
        EtcdError::new(ErrorKind::Local, endpoint, reason)
    })
}

fn password(user: &User, endpoint: &str) -> Result<String, EtcdError> {
    let Some(file) = &user.password_file else {
        return std::env::var(Location::PASSWORD).map_err(|_| {
            let reason =
                format!("user={} has no password; give password-file=FILE, or set {}", user.name, Location::PASSWORD);
            EtcdError::new(ErrorKind::Local, endpoint, reason)
        });
    };
    let bytes = read(file, "password-file", endpoint)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) => {
            let reason = format!("password-file={} is not UTF-8", file.display());
            Err(EtcdError::new(ErrorKind::Local, endpoint, reason))
        }
    }
}

impl Connection {
    /// What a failure of a request over this connection means, for people.
    pub fn explain(&self, error: &etcd_client::Error) -> EtcdError {
        EtcdError::of(error, &self.endpoint, &self.keys.objects())
    }
}
