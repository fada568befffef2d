//! The Corefile as the server gets it: placeholders of NodeLocal DNSCache filled in, stub domains of kube-dns's
//! ConfigMap added.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_cluster::object::ObjectName;
use bowline_dns::corefile::kube_dns::KubeDns;
use bowline_dns::corefile::{CorefileError, SourceLine, node_cache};
use bowline_dns::feed::Feed;

use super::config::{DOMAIN, NAMESPACE, NodeLocalConfig};

/// What the text of a Corefile is filled with.
pub struct Template {
    local: Vec<IpAddr>,
    port: u16,
    domain: String,
    /// Behind whose address the cluster's DNS servers are.
    upstream: ObjectName,
    folder: Option<PathBuf>,
    feed: Arc<Feed>,
    /// What was said of the folder, so that it is said once.
    said: Mutex<Vec<String>>,
}

impl Template {
    /// What these settings fill it with, and the state.
    pub fn new(config: &NodeLocalConfig, feed: Arc<Feed>) -> Template {
        let namespace = config.dns_service.namespace.clone();
        Template {
            local: config.localip.clone(),
            port: config.port,
            domain: config.cluster_domain.clone(),
            upstream: ObjectName { namespace, name: config.upstreamsvc.as_str().into() },
            folder: config.kubednscm.clone(),
            feed,
            said: Mutex::default(),
        }
    }

    /// With the flags' defaults, at these addresses and this port, and with this `-upstreamsvc`.
    pub fn with_defaults((local, port): (&[IpAddr], u16), upstream: &str, feed: Arc<Feed>) -> Template {
        Template {
            local: local.to_owned(),
            port,
            domain: DOMAIN.to_owned(),
            upstream: ObjectName { namespace: NAMESPACE.into(), name: upstream.into() },
            folder: None,
            feed,
            said: Mutex::default(),
        }
    }

    /// The address for `__PILLAR__CLUSTER__DNS__`: as node-cache has it, from the environment that Kubernetes gives to
    /// pods, otherwise from the state.
    fn cluster_dns(&self) -> Option<IpAddr> {
        let variable = self.upstream.name.to_uppercase().replace('-', "_") + "_SERVICE_HOST";
        let from_environment = std::env::var(variable).ok().and_then(|address| address.parse().ok());
        from_environment.or_else(|| {
            let snapshot = self.feed.snapshot()?;
            snapshot.services.get(&self.upstream)?.cluster_ips.first().copied()
        })
    }

    /// Whether the state must be known before this text can be filled.
    pub fn must_wait(&self, text: &str) -> bool {
        text.contains("__PILLAR__CLUSTER__DNS__") && self.cluster_dns().is_none() && !self.feed.is_synced()
    }

    /// The Corefile that `text` makes.
    ///
    /// # Errors
    /// What is wrong with it, or with the folder of kube-dns's ConfigMap.
    pub fn fill(&self, text: &str, file: &str) -> Result<String, CorefileError> {
        self.fill_with(text, file, self.cluster_dns())
    }

    /// The same where the Service's address doesn't matter.
    pub fn fill_for_a_look(&self, text: &str, file: &str) -> Result<String, CorefileError> {
        self.fill_with(text, file, self.cluster_dns().or(self.local.first().copied()))
    }

    fn fill_with(&self, text: &str, file: &str, cluster_dns: Option<IpAddr>) -> Result<String, CorefileError> {
        let asked = match &self.folder {
            None => KubeDns::default(),
            Some(folder) => KubeDns::from_folder(folder).map_err(|message| {
                CorefileError::at(&SourceLine { file: file.into(), line: 1 }, format!("kube-dns: {message}"))
            })?,
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != asked.warnings {
            asked.warnings.iter().for_each(|warning| tracing::warn!("kube-dns: {warning}"));
            said.clone_from(&asked.warnings);
        }
        if !node_cache::is_template(text) && asked.stub_domains.is_empty() {
            return Ok(text.to_owned());
        }
        let domain = self.domain.clone();
        let settings = node_cache::Settings { local: self.local.clone(), port: self.port, cluster_dns, domain };
        node_cache::fill(text, file, &settings, &asked)
    }
}
