//! Reads keys of any layout: for those who keep other things than objects in an etcd (names, as SkyDNS did).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KeyValue};
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;

use super::connect::{Failed, MAX_MESSAGE, client};
use super::error::{ErrorKind, EtcdError};
use super::pages::Pages;
use bowline_tls::Files;

/// How long a reading may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many leases are asked for at a time.
const LEASES: usize = 16;

/// Where an etcd is and how to log in there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `http://host:port` or `https://host:port`, at least one.
    pub endpoints: Vec<String>,
    /// The authority of the server's certificate, PEM; those of the system without it.
    pub cacert: Option<PathBuf>,
    /// A client's certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl Access {
    /// What TLS is spoken with.
    pub fn files(&self) -> Files {
        Files { authority: self.cacert.clone(), own: self.identity.clone() }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The seconds that its lease has left; None where it has none.
    pub lease: Option<i64>,
}

/// A reader. It connects when it is asked, and anew after a failure.
pub struct Reader {
    access: Access,
    client: Mutex<Option<Client>>,
    /// The endpoint that is asked first.
    next: AtomicUsize,
}

impl Reader {
    /// A reader of this etcd.
    pub fn new(access: Access) -> Reader {
        Reader { access, client: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// The value of a key, if it is there.
    pub async fn get(&self, key: &str) -> Result<Vec<Entry>, EtcdError> {
        self.read(key, false).await
    }

    /// All keys that begin with `prefix`, up to [`MAX_MESSAGE`] bytes of values.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, EtcdError> {
        self.read(prefix, true).await
    }

    async fn read(&self, key: &str, is_prefix: bool) -> Result<Vec<Entry>, EtcdError> {
        let endpoints = &self.access.endpoints;
        let reading = async {
            let mut last = None;
            // Once more than there are endpoints: a kept connection may have broken since.
            for _ in 0..=endpoints.len() {
                let at = self.next.load(Ordering::Relaxed);
                let Some(endpoint) = endpoints.get(at % endpoints.len().max(1)) else { break };
                let is_kept = self.client.lock().await.is_some();
                match self.try_read(endpoint, key, is_prefix).await {
                    Ok(entries) => return Ok(entries),
                    // Another endpoint would say the same.
                    Err(error) if error.kind == ErrorKind::TooLarge => return Err(error),
                    Err(error) => last = Some(error),
                }
                *self.client.lock().await = None;
                if !is_kept {
                    self.next.store(at.wrapping_add(1), Ordering::Relaxed);
                }
            }
            let none = || EtcdError::new(ErrorKind::Local, "", "no endpoint is given");
            Err(last.unwrap_or_else(none))
        };
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(result) => result,
            Err(_) => {
                *self.client.lock().await = None;
                self.next.fetch_add(1, Ordering::Relaxed);
                Err(EtcdError::silent(&endpoints.join(", "), TIMEOUT))
            }
        }
    }

    async fn try_read(&self, endpoint: &str, key: &str, is_prefix: bool) -> Result<Vec<Entry>, EtcdError> {
        let said = |error: etcd_client::Error| EtcdError::of(&error, endpoint, key);
        let client = self.client(endpoint).await?;
        let mut keys = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let mut found = Vec::new();
        if is_prefix {
            let (mut pages, mut size) = (Pages::below(key, false), 0);
            while let Some((from, options)) = pages.next() {
                let mut page = match keys.get(from, Some(options)).await.map_err(said) {
                    Err(error) if error.kind == ErrorKind::TooLarge && pages.shrink() => continue,
                    result => result?,
                };
                pages.read(&page);
                size += page.kvs().iter().map(|entry| entry.value().len()).sum::<usize>();
                if size > MAX_MESSAGE {
                    let reason = format!("more than {} MiB below {key}; ask for a longer name", MAX_MESSAGE >> 20);
                    return Err(EtcdError::new(ErrorKind::TooLarge, endpoint, reason));
                }
                found.extend(page.take_kvs());
            }
        } else {
            found = keys.get(key, None).await.map_err(said)?.take_kvs();
        }
        let leases = leases(&client, &found).await;
        Ok(found.into_iter().map(|entry| read_entry(entry, &leases)).collect())
    }

    async fn client(&self, endpoint: &str) -> Result<Client, EtcdError> {
        let mut kept = self.client.lock().await;
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let mut options = ConnectOptions::new().with_connect_timeout(TIMEOUT).with_timeout(TIMEOUT);
        if let Some((name, password)) = &self.access.user {
            options = options.with_user(name, password);
        }
        let files = self.access.files();
        let client = client(endpoint, options, &files).await.map_err(|error| match error {
            Failed::Here(reason) => EtcdError::new(ErrorKind::Local, endpoint, reason),
            Failed::There(error) => EtcdError::of_connect(&error, endpoint, "").with_doubts(&files),
        })?;
        *kept = Some(client.clone());
        Ok(client)
    }
}

/// The seconds that the leases of these keys have left; many keys may share one.
async fn leases(client: &Client, found: &[KeyValue]) -> BTreeMap<i64, i64> {
    let mut ids: Vec<i64> = found.iter().map(KeyValue::lease).filter(|id| *id != 0).collect();
    ids.sort_unstable();
    ids.dedup();
    let ask = async |id| {
        // A lease that can't be asked for tells nothing.
        let left = client.lease_client().time_to_live(id, None).await;
        left.ok().map(|left| (id, left.ttl()))
    };
    stream::iter(ids).map(ask).buffer_unordered(LEASES).filter_map(async |left| left).collect().await
}

fn read_entry(entry: KeyValue, leases: &BTreeMap<i64, i64>) -> Entry {
    let lease = leases.get(&entry.lease()).copied().filter(|ttl| *ttl > 0);
    let (key, value) = entry.into_key_value();
    Entry { key: String::from_utf8_lossy(&key).into_owned(), value, lease }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("endpoints", &self.access.endpoints).finish_non_exhaustive()
    }
}
