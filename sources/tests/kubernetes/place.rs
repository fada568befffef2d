//! A real API server over a real etcd, as the tests write it.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use bowline_cluster::source::Source;
use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use bowline_sources::kubernetes::{Access, Kubernetes, Wanted};
use futures_util::StreamExt;
use http::{Method, Request};
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::{Client, Config};
use tokio::runtime::Runtime;

use crate::battery;

/// One cluster: what each test has for itself.
pub struct Site {
    pub api: ApiServer,
    pub etcd: Etcd,
    pub place: Place,
    /// Goes last, and takes everything with it.
    _lab: Lab,
    runtime: Runtime,
    client: Client,
    /// The paths of the objects that were put under a key.
    put: HashMap<String, BTreeSet<String>>,
}

/// What an API server makes by itself: the Service `kubernetes`, its slice, a ServiceCIDR, four Namespaces.
const OWN: [(&str, usize); 4] = [
    ("/api/v1/services", 1),
    ("/apis/discovery.k8s.io/v1/endpointslices", 1),
    ("/apis/networking.k8s.io/v1/servicecidrs", 1),
    ("/api/v1/namespaces", 4),
];

impl Site {
    pub fn new() -> Site {
        Site::with(&ApiServerOptions::default(), &EtcdOptions::default())
    }

    pub fn with(options: &ApiServerOptions, etcd: &EtcdOptions) -> Site {
        let lab = Lab::new("kubernetes").unwrap();
        let place = Place::machine(&lab).unwrap();
        let etcd = Etcd::start(&place, etcd).unwrap();
        let api = ApiServer::start(&place, &etcd, options).unwrap();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(client(api.admin()));
        let site = Site { api, etcd, place, _lab: lab, runtime, client, put: HashMap::new() };
        site.settle();
        site
    }

    /// Waits until the server has made what it makes by itself.
    pub fn settle(&self) {
        bowline_lab::wait_for("the server's own objects", battery::PATIENCE, || {
            OWN.iter().all(|(path, count)| {
                let list = self.get(path);
                let items = list["items"].as_array().unwrap();
                let ready = |item: &serde_json::Value| item["status"]["conditions"][0]["status"] == "True";
                items.len() == *count && (!path.ends_with("servicecidrs") || items.iter().all(ready))
            })
        })
        .unwrap();
    }

    pub fn access(&self) -> Access {
        Access { kubeconfig: Some(self.api.admin()), ..Access::default() }
    }

    pub fn request(&self, method: Method, path: &str, kind: &str, body: &str) -> Result<serde_json::Value, String> {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.as_bytes().to_vec()).unwrap();
        self.runtime.block_on(self.client.request(request)).map_err(|error| error.to_string())
    }

    pub fn get(&self, path: &str) -> serde_json::Value {
        self.request(Method::GET, path, "application/json", "").unwrap()
    }

    /// Applies one object, YAML; its path.
    pub fn apply(&self, manifest: &str) -> String {
        let path = path_of(manifest);
        let query = format!("{path}?fieldManager=battery&force=true");
        let applied = self.request(Method::PATCH, &query, "application/apply-patch+yaml", manifest);
        applied.unwrap_or_else(|error| panic!("{path}: {error}"));
        path
    }

    /// Creates objects, JSON, many at a time; each with the path of its collection.
    pub fn create(&self, objects: impl Iterator<Item = (String, String)>) {
        let created = futures_util::stream::iter(objects).for_each_concurrent(64, async |(path, object)| {
            let request = Request::post(path).header("content-type", "application/json");
            let request = request.body(object.into_bytes()).unwrap();
            self.client.request::<serde::de::IgnoredAny>(request).await.unwrap();
        });
        self.runtime.block_on(created);
    }

    pub fn remove(&self, path: &str) {
        self.try_remove(path).unwrap();
    }

    pub fn try_remove(&self, path: &str) -> Result<serde_json::Value, String> {
        self.request(Method::DELETE, path, "application/json", "")
    }

    /// Waits until there is such a collection.
    pub fn until_served(&self, path: &str) {
        let served = || self.request(Method::GET, path, "application/json", "").is_ok();
        bowline_lab::wait_for(path, battery::PATIENCE, served).unwrap();
    }

    /// Waits until there is no such object.
    pub fn until_gone(&self, path: &str) {
        let gone = || self.request(Method::GET, path, "application/json", "").is_err_and(|error| error.contains("404"));
        bowline_lab::wait_for(path, battery::PATIENCE, gone).unwrap();
    }

    /// A client of its own, from files that have changed.
    pub fn reconnect(&mut self) {
        self.client = self.runtime.block_on(client(self.api.admin()));
    }

    /// Stores an object of the namespace `default` as an API server of another version has: past this one.
    pub fn store(&self, folder: &str, object: &serde_json::Value) {
        let urls = self.etcd.urls();
        let key = format!("/registry/{folder}/default/{}", object["metadata"]["name"].as_str().unwrap());
        self.runtime.block_on(async {
            let mut etcd = etcd_client::Client::connect(urls, None).await.unwrap();
            etcd.put(key, object.to_string(), None).await.unwrap();
        });
    }

    /// Makes etcd forget what was before now.
    pub fn compact(&self) {
        let urls = self.etcd.urls();
        self.runtime.block_on(async {
            let mut etcd = etcd_client::Client::connect(urls, None).await.unwrap();
            let revision = etcd.get("nothing", None).await.unwrap().header().unwrap().revision();
            etcd.compact(revision, None).await.unwrap();
        });
    }
}

/// Where an object is.
fn path_of(manifest: &str) -> String {
    let object: serde_json::Value = serde_saphyr::from_str(manifest).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (version, name) = (text(&object["apiVersion"]), text(&object["metadata"]["name"]));
    let plural = text(&object["kind"]).to_lowercase() + if object["kind"] == "NetworkPolicy" { "" } else { "s" };
    let plural = plural.replace("networkpolicy", "networkpolicies");
    let api = if version.contains('/') { "apis" } else { "api" };
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let of_cluster =
        ["nodes", "namespaces", "servicecidrs", "customresourcedefinitions", "clusterroles", "clusterrolebindings"];
    if of_cluster.contains(&&*plural) {
        format!("/{api}/{version}/{plural}/{name}")
    } else {
        format!("/{api}/{version}/namespaces/{namespace}/{plural}/{name}")
    }
}

async fn client(kubeconfig: PathBuf) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

impl battery::Place for Site {
    fn source(&self) -> Box<dyn Source> {
        Box::new(Kubernetes::new(self.access(), Wanted::default()))
    }
    fn own(&self) -> usize {
        OWN.iter().map(|(_, count)| count).sum()
    }
    fn put(&mut self, key: &str, manifest: &str) {
        let path = self.apply(manifest);
        self.put.entry(key.to_owned()).or_default().insert(path);
    }
    fn delete(&mut self, key: &str) {
        self.put.remove(key).unwrap().iter().for_each(|path| self.remove(path));
    }
    fn take_away(&mut self) {
        self.api.kill().unwrap();
    }
    fn bring_back(&mut self) {
        self.api.restart().unwrap();
    }
}
