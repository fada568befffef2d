//! An etcd for all tests of this file, and a prefix in it for each.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bowline_etcd::Location;
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};
use bowline_sources::store::apply::{Applied, DryRun};
use bowline_sources::store::{Resource, Settings, Store, StoreError};
use serde_json::Value;

/// For a defect, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server; it goes with the last test that uses it.
struct Server {
    etcd: Etcd,
    _lab: Lab,
}

/// A part of an etcd that no other test looks at.
pub(crate) struct Ground {
    urls: Vec<String>,
    _server: Option<Arc<Server>>,
    pub(crate) prefix: String,
    pub(crate) settings: Settings,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut shared = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| {
            let lab = Lab::new("store").unwrap();
            let place = Place::machine(&lab).unwrap();
            Arc::new(Server { etcd: Etcd::start(&place, &EtcdOptions::default()).unwrap(), _lab: lab })
        });
        *shared = Arc::downgrade(&server);
        let prefix = format!("/test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let urls = server.etcd.urls();
        Ground { urls, _server: Some(server), prefix, settings: Settings::default() }
    }

    /// On an etcd that is the caller's alone.
    pub(crate) fn on(etcd: &Etcd) -> Ground {
        Ground { urls: etcd.urls(), _server: None, prefix: "/bowline".to_string(), settings: Settings::default() }
    }

    /// With other settings than its own.
    pub(crate) fn set(self, settings: Settings) -> Ground {
        Ground { settings, ..self }
    }

    /// With these pools of Service addresses and of pod addresses.
    pub(crate) fn with(services: &str, pods: &str) -> Ground {
        let mut ground = Ground::new();
        let ranges = |text: &str| text.split_whitespace().map(|range| range.parse().unwrap()).collect();
        ground.settings.service_cluster_ip_range = ranges(services);
        ground.settings.cluster_cidr = ranges(pods);
        ground
    }

    pub(crate) fn location(&self) -> Location {
        format!("etcd:{}?prefix={}", self.urls.join(","), self.prefix).parse().unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.location(), PATIENCE, Arc::new(|said| println!("{said}")))
    }

    /// Applies YAML; its namespace is `default` unless it says another.
    pub(crate) fn try_apply(&self, yaml: &str) -> Result<Applied, StoreError> {
        let store = self.store();
        run(store.apply(&object(yaml), DryRun::No, &self.settings))
    }

    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) -> Applied {
        self.try_apply(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
    }

    /// Why it is refused.
    #[track_caller]
    pub(crate) fn refused(&self, yaml: &str) -> String {
        match self.try_apply(yaml) {
            Err(error) => error.to_string(),
            Ok(applied) => panic!("not refused: {}", applied.object),
        }
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        run(self.store().get(&Resource::parse(kind).unwrap(), "default", name)).unwrap()
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) -> Result<Value, StoreError> {
        let resource = Resource::parse(kind).unwrap();
        run(self.store().delete(&resource, "default", name, &Default::default(), DryRun::No))
    }

    /// What the raw client sees below the prefix: the rest of the key, and the value.
    pub(crate) fn raw(&self, below: &str) -> BTreeMap<String, String> {
        run(async {
            let mut client = self.location().connect().await.unwrap().client;
            let prefix = format!("{}/{below}", self.prefix);
            let options = etcd_client::GetOptions::new().with_prefix();
            let answer = client.get(prefix.clone(), Some(options)).await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            answer.kvs().iter().map(|kv| (text(kv.key())[prefix.len()..].to_string(), text(kv.value()))).collect()
        })
    }

    /// Puts past the store, as `etcdctl put` does.
    pub(crate) fn put_raw(&self, key: &str, value: &str) {
        run(async {
            let mut client = self.location().connect().await.unwrap().client;
            client.put(format!("{}/{key}", self.prefix), value, None).await.unwrap();
        });
    }

    pub(crate) fn delete_raw(&self, key: &str) {
        run(async {
            let mut client = self.location().connect().await.unwrap().client;
            client.delete(format!("{}/{key}", self.prefix), None).await.unwrap();
        });
    }

    /// Every claim: its key, and the name of who has it.
    pub(crate) fn claims(&self) -> BTreeMap<String, String> {
        let name = |value: String| serde_json::from_str::<Value>(&value).unwrap()["name"].as_str().unwrap().to_string();
        self.raw("claims/").into_iter().map(|(key, value)| (key, name(value))).collect()
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn object(yaml: &str) -> Value {
    let read = bowline_sources::parse::document::documents("test.yaml", yaml.as_bytes());
    assert_eq!(read.problems, []);
    read.documents.into_iter().next().unwrap().value
}

/// A Service with this spec, in YAML's flow style.
pub(crate) fn service(name: &str, spec: &str) -> String {
    let spec = spec.trim();
    let spec = if spec.contains("ports") { spec.to_string() } else { format!("ports: [{{port: 80}}], {spec}") };
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{spec}}}}}")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
