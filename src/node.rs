//! `bowline node`: the flags become a config, and the agent runs until it is told to end.

use anyhow::Context;
use bowline_agent::{Config, process};
use bowline_dataplane::node::Config as Place;
use bowline_sources::state_ref::StateKind;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::NodeArgs;
use crate::root;

/// Runs until SIGTERM or SIGINT. What the kernel has stays.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    bowline_dataplane::one_heap();
    process::start(args.log_format.into(), args.v);
    if args.require_network_policy {
        anyhow::bail!(
            "--require-network-policy: this version enforces no NetworkPolicy; leave the flag out to run without, or \
             leave policies to another program (`bowline check --state ...` lists those there are)"
        );
    }
    let config = args.config()?;
    if config.node_local.is_some() {
        args.node_local.tell_ignored();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    // Before anything is made: from here on a signal ends it in an orderly way.
    let _entered = runtime.enter();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::user_defined1())?;
    let mut running = bowline_agent::start(config)?;
    runtime.block_on(async {
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = reload.recv() => running.reload(),
                why = running.failure() => return Err(anyhow::anyhow!(why)),
            }
        }
    })
}

impl NodeArgs {
    fn config(&self) -> anyhow::Result<Config> {
        let states = self.states.states()?;
        let Some(own) = states.first() else {
            anyhow::bail!("--state is missing: say where the objects come from (`bowline node --help` shows how)");
        };
        root::need("node", "loads programs into the kernel")?;
        // As the kubelet writes it, and kube-proxy.
        let node = match &self.hostname_override {
            Some(name) => name.clone(),
            None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
        };
        let node = node.trim().to_lowercase();
        let service_cluster_ip_range = self.states.service_cluster_ip_range.clone();
        let registration = match &own.kind {
            StateKind::Etcd(location) => self.node_object.registration(location, &node, &service_cluster_ip_range)?,
            StateKind::Files(_) | StateKind::Kubernetes(_) => None,
        };
        let pod_network = self.pod_network.config(&node)?;
        Ok(Config {
            pod_network,
            dataplane: Place {
                bpf_root: self.place.bpf_root(),
                cgroup_root: self.place.cgroup_root()?,
                sizes: self.sizes.into(),
                stand_ins: Vec::new(),
            },
            node,
            states,
            service_cluster_ip_range,
            state_dir: (!self.state_dir.is_empty()).then(|| self.state_dir.clone().into()),
            state_max_age: self.state_max_age,
            metrics_bind_address: self.metrics_bind_address.clone(),
            healthz_bind_address: self.healthz_bind_address.clone(),
            node_local: self.node_local.config(),
            registration,
        })
    }
}
