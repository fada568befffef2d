//! A connection to one endpoint of an etcd, made anew with what the files say now.

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};

use super::error::{Error, ErrorKind};
use super::location::User;
use super::{Keys, Location};

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
    pub async fn connect(&self) -> Result<Connection, Error> {
        let mut errors = Vec::new();
        for endpoint in self.endpoints() {
            match self.connect_to(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => errors.push(error),
            }
        }
        Err(Error::all(errors))
    }

    /// Connects to this endpoint, logs in, and reads one key of the objects: an endpoint that can't is of no
    /// use, whatever is asked of it next.
    pub async fn connect_to(&self, endpoint: &str) -> Result<Connection, Error> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(Error::silent(endpoint, CONNECT_TIMEOUT)),
        }
    }

    async fn try_connect(&self, endpoint: &str) -> Result<Connection, Error> {
        let objects = self.keys().objects();
        let said = |error| Error::of_connect(&error, endpoint, &objects);
        let options = self.options(endpoint)?;
        let client = Client::connect([endpoint], Some(options)).await.map_err(said)?;
        let one = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
        let answer = client.kv_client().get(objects.clone(), Some(one)).await.map_err(said)?;
        let (cluster_id, revision) = answer.header().map_or((0, 0), |header| (header.cluster_id(), header.revision()));
        Ok(Connection { client, endpoint: endpoint.to_owned(), cluster_id, revision, keys: self.keys().clone() })
    }

    fn options(&self, endpoint: &str) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if endpoint.starts_with("https://") {
            options = options.with_tls(self.tls(endpoint)?);
        }
        if let Some(user) = &self.user {
            options = options.with_user(&user.name, password(user, endpoint)?);
        }
        Ok(options)
    }

    fn tls(&self, endpoint: &str) -> Result<TlsOptions, Error> {
        let identity = self.identity.as_ref().map(|identity| (identity.cert.as_path(), identity.key.as_path()));
        tls(self.cacert.as_deref(), identity, endpoint)
    }
}

/// TLS with what the files say now.
pub(super) fn tls(
    cacert: Option<&Path>,
    identity: Option<(&Path, &Path)>,
    endpoint: &str,
) -> Result<TlsOptions, Error> {
    let mut tls = match cacert {
        Some(file) => {
            let pem = read(file, "cacert", endpoint)?;
            TlsOptions::new().ca_certificate(Certificate::from_pem(pem))
        }
        None => TlsOptions::new().with_native_roots(),
    };
    if let Some((cert, key)) = identity {
        let (cert, key) = (read(cert, "cert", endpoint)?, read(key, "key", endpoint)?);
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    Ok(tls)
}

fn read(file: &Path, parameter: &str, endpoint: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| {
        let reason = format!("{parameter}={} can't be read: {error}", file.display());
        Error::new(ErrorKind::Local, endpoint, reason)
    })
}

fn password(user: &User, endpoint: &str) -> Result<String, Error> {
    let Some(file) = &user.password_file else {
        return std::env::var(Location::PASSWORD).map_err(|_| {
            let reason =
                format!("user={} has no password; give password-file=FILE, or set {}", user.name, Location::PASSWORD);
            Error::new(ErrorKind::Local, endpoint, reason)
        });
    };
    let bytes = read(file, "password-file", endpoint)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) => {
            let reason = format!("password-file={} is not UTF-8", file.display());
            Err(Error::new(ErrorKind::Local, endpoint, reason))
        }
    }
}

impl Connection {
    /// What a failure of a request over this connection means, for people.
    pub fn explain(&self, error: &etcd_client::Error) -> Error {
        Error::of(error, &self.endpoint, &self.keys.objects())
    }
}
