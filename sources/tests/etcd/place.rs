//! An etcd of a test's own, and somebody who writes to it.

use std::collections::HashMap;
use std::time::Duration;

use bowline_cluster::source::Source;
use bowline_etcd::{Keys, Location};
use bowline_lab::kubernetes::{Etcd, EtcdOptions, EtcdRelease, Place as Servers};
use bowline_lab::{Lab, wait_for};
use bowline_sources::etcd::Etcd as EtcdSource;
use etcd_client::{Client, CompactionOptions, ConnectOptions, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};
use tokio::runtime::Runtime;

use crate::battery::Place;

/// Waiting longer than this is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A real etcd, its writer, and where a source finds it.
pub struct Site {
    pub etcd: Etcd,
    pub writer: Writer,
    pub location: Location,
    /// Which key of etcd a test's key has got.
    keys: HashMap<String, String>,
    pub servers: Servers,
    /// Last, so that everything goes before its folders do.
    pub lab: Lab,
}

impl Site {
    /// One member, without TLS.
    pub fn new() -> Site {
        Site::with(&EtcdOptions::default(), "")
    }

    /// One member, of the etcd that Debian 12 has.
    pub fn system() -> Site {
        Site::with(&EtcdOptions { release: EtcdRelease::System, ..EtcdOptions::default() }, "")
    }

    /// With these parameters after the URLs of all members.
    pub fn with(options: &EtcdOptions, parameters: &str) -> Site {
        let lab = Lab::new("source").unwrap();
        let servers = Servers::machine(&lab).unwrap();
        let etcd = Etcd::start(&servers, options).unwrap();
        let location: Location = format!("etcd:{}{parameters}", etcd.urls().join(",")).parse().unwrap();
        let writer = Writer::new(etcd.urls(), None);
        Site { etcd, writer, location, keys: HashMap::new(), servers, lab }
    }

    /// A source that finds etcd at these URLs instead.
    pub fn source_at(&self, urls: &str) -> Box<dyn Source> {
        Box::new(EtcdSource::new(format!("etcd:{urls}").parse().unwrap()))
    }

    fn key(&self, manifest: &str) -> Option<String> {
        let field = |name: &str| manifest.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
        let (kind, name) = (field("kind:")?, field("name:")?);
        let plural = format!("{}s", kind.to_lowercase().trim_end_matches('s'));
        Some(self.location.keys().any_object(&plural, "default", name))
    }
}

impl Place for Site {
    fn source(&self) -> Box<dyn Source> {
        Box::new(EtcdSource::new(self.location.clone()))
    }
    fn put(&mut self, key: &str, manifest: &str) {
        let path = self.key(manifest).unwrap_or_else(|| self.keys[key].clone());
        self.writer.put(&path, manifest);
        self.keys.insert(key.to_owned(), path);
    }
    fn delete(&mut self, key: &str) {
        self.writer.delete(&self.keys[key]);
    }
    fn take_away(&mut self) {
        self.etcd.members_mut().iter_mut().for_each(|member| member.kill().unwrap());
    }
    fn bring_back(&mut self) {
        let members = self.etcd.members_mut();
        members.iter_mut().for_each(|member| member.start_only().unwrap());
        members.iter_mut().for_each(|member| member.wait_ready().unwrap());
    }
}

/// Writes to etcd. A write that fails is made again until it is done.
pub struct Writer {
    runtime: Runtime,
    urls: Vec<String>,
    options: Option<ConnectOptions>,
}

impl Writer {
    pub fn new(urls: Vec<String>, options: Option<ConnectOptions>) -> Writer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Writer { runtime, urls, options }
    }

    /// Does this with one of the endpoints after the other, until it is done.
    pub fn run<T>(&self, mut work: impl AsyncFnMut(&mut Client) -> Result<T, etcd_client::Error>) -> T {
        let mut done = None;
        let mut turn = 0;
        wait_for("a write to etcd", PATIENCE, || {
            let url = &self.urls[turn % self.urls.len()];
            turn += 1;
            let attempt = async {
                let mut client = Client::connect([url], self.options.clone()).await?;
                work(&mut client).await
            };
            let attempt = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), attempt).await });
            done = attempt.ok().and_then(Result::ok);
            done.is_some()
        })
        .unwrap();
        done.unwrap()
    }

    pub fn put(&self, key: &str, value: &str) -> i64 {
        self.run(async |client| Ok(revision(client.put(key, value, None::<PutOptions>).await?.header())))
    }

    pub fn delete(&self, key: &str) -> i64 {
        self.run(async |client| Ok(revision(client.delete(key, None::<DeleteOptions>).await?.header())))
    }

    pub fn transaction(&self, ops: &[TxnOp]) -> i64 {
        self.run(async |client| Ok(revision(client.txn(Txn::new().and_then(ops)).await?.header())))
    }

    /// Forgets the past up to `revision`.
    pub fn compact(&self, revision: i64) {
        let physical = CompactionOptions::new().with_physical();
        self.run(async |client| {
            // Where it was done, and only the answer was lost, it is refused.
            match client.compact(revision, Some(physical.clone())).await {
                Err(etcd_client::Error::GRpcStatus(status)) if status.message().contains("has been compacted") => {
                    Ok(())
                }
                result => result.map(drop),
            }
        });
    }

    /// What is below `objects/`: keys and values.
    pub fn objects(&self, keys: &Keys) -> Vec<(String, String)> {
        self.run(async |client| {
            let answer = client.get(keys.objects(), Some(GetOptions::new().with_prefix())).await?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(answer.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect())
        })
    }
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.unwrap().revision()
}
