//! Who serves the addresses of Services on a node: Bowline, or kube-proxy for comparison.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::deploy::{Deploy, Overlay};
use super::kubelet::{NETWORKS, OWN_PLUGINS};
use super::{ApiServer, Image, Machine, PATIENCE, POD_CIDRS, SERVICE_CIDRS, Server, binary};
use crate::{Lab, cni_plugin};

/// Who serves the addresses of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Services {
    /// `bowline node`.
    Bowline {
        /// The program.
        program: PathBuf,
        /// Flags besides the usual ones.
        flags: Vec<String>,
    },
    /// kube-proxy.
    KubeProxy {
        /// Its mode: `nftables` or `iptables`.
        mode: String,
    },
    /// Nobody.
    None,
    /// The DaemonSet of deploy/, which gives pods their network, too.
    DaemonSet {
        /// The program that its image has, and the plugin beside it.
        program: PathBuf,
    },
}

/// The flag by which `bowline node` gives pods their network, too.
pub const POD_NETWORK: &str = "--pod-network";

impl Services {
    /// Whether it gives pods their network, too: then no reference plugin does.
    pub fn has_pod_network(&self) -> bool {
        match self {
            Services::Bowline { flags, .. } => flags.iter().any(|flag| flag == POD_NETWORK),
            Services::DaemonSet { .. } => true,
            Services::KubeProxy { .. } | Services::None => false,
        }
    }
}

/// Applies the DaemonSet, and waits until its agents serve.
pub(crate) fn apply_daemon_set(lab: &Lab, api: &ApiServer, program: &Path) -> Result<()> {
    let image = Image::bowline(program.to_owned());
    ensure!(image.programs.len() == 2, "{} has no bowline-cni beside it: make build", program.display());
    // As an operator whose runtime looks elsewhere.
    let patches = format!(
        r#"  - target: {{kind: DaemonSet, name: bowline}}
    patch: |-
      apiVersion: apps/v1
      kind: DaemonSet
      metadata: {{name: bowline}}
      spec: {{template: {{spec: {{volumes: [{{name: cni-conf, hostPath: {{path: {NETWORKS}}}}}]}}}}}}
"#
    );
    let (image, apiserver) = (image.full_name(), format!("apiserver={}", api.url()));
    let settings = [apiserver.as_str()];
    let overlay =
        Overlay::new(&["overlays/alone"], &image).settings(&settings).components(&["pod-network"]).patches(&patches);
    let overlay = Deploy::new(lab)?.overlay("own", &overlay)?;
    api.kubectl(&["apply", "--server-side", "--force-conflicts", "--kustomize", &overlay])?;
    let rollout = ["rollout", "status", "--namespace=kube-system", "daemonset/bowline"];
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    api.kubectl(&[&rollout[..], &[&timeout]].concat()).map(drop).with_context(|| {
        let logs = ["logs", "-n", "kube-system", "-l", "app.kubernetes.io/component=node", "--prefix", "--tail=5"];
        format!("the agents say: {}", api.kubectl(&logs).unwrap_or_default())
    })
}

/// The agent of one node.
#[derive(Debug)]
pub struct ServiceAgent {
    services: Services,
    server: Server,
}

impl ServiceAgent {
    /// Prepares the agent of this node: credentials and configuration. Not started.
    pub fn new(machine: &Machine, api: &ApiServer, services: &Services) -> Result<ServiceAgent> {
        let node = machine.name();
        let name = match services {
            Services::Bowline { .. } => "bowline",
            Services::KubeProxy { .. } | Services::None | Services::DaemonSet { .. } => "kube-proxy",
        };
        let user = match services {
            // The name that a DaemonSet's pods have: deploy/ gives it its permissions.
            Services::Bowline { .. } => "system:serviceaccount:kube-system:bowline",
            Services::KubeProxy { .. } | Services::None | Services::DaemonSet { .. } => "system:kube-proxy",
        };
        api.client_kubeconfig(&format!("{node}-{name}"), user, &[])?;
        if let Services::KubeProxy { mode } = services {
            let config = json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": mode,
                "clientConnection": {"kubeconfig": kubeconfig(api, node, name)},
                "clusterCIDR": POD_CIDRS,
                "hostnameOverride": node,
                // A namespace may not set the machine's limits.
                "conntrack": {
                    "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
                },
            });
            machine.write("/var/lib/kube-proxy/config.json", &config.to_string())?;
        }
        let server = Server::new(format!("{name} of {node}"), machine.path(&format!("/var/log/{name}.log")));
        Ok(ServiceAgent { services: services.clone(), server })
    }

    /// Starts it (again); an earlier process is killed first. Does not wait.
    pub fn start(&mut self, machine: &Machine, api: &ApiServer) -> Result<()> {
        let node = machine.name();
        let mut command = match &self.services {
            Services::None | Services::DaemonSet { .. } => return Ok(()),
            Services::KubeProxy { .. } => {
                let mut command = machine.command(binary("kube-proxy")?);
                command.arg("--config=/var/lib/kube-proxy/config.json");
                command
            }
            Services::Bowline { program, flags } => {
                let mut command = machine.command(program.canonicalize()?);
                command.args(["node", "--state", "kubernetes", "--hostname-override", node]).arg("--kubeconfig");
                command.arg(kubeconfig(api, node, "bowline")).args(["--apiserver", &api.url()]);
                command.args(["--service-cluster-ip-range", SERVICE_CIDRS]).args(flags);
                if self.services.has_pod_network() {
                    command.args(["--cni-conf-dir", NETWORKS, "--cni-bin-dir", OWN_PLUGINS]);
                    command.arg("--cni-plugin").arg(cni_plugin()?.canonicalize()?);
                }
                command
            }
        };
        self.server.start(&mut command)
    }

    /// Waits until it says that it is ready: all that it knew at first is in the kernel.
    pub fn wait_ready(&mut self, machine: &Machine) -> Result<()> {
        let page = match self.services {
            Services::None | Services::DaemonSet { .. } => return Ok(()),
            Services::KubeProxy { .. } => "healthz",
            Services::Bowline { .. } => "readyz",
        };
        let url = format!("http://127.0.0.1:10256/{page}");
        self.server.wait_until(page, || machine.output("curl", &["-sf", "-m5", &url]).is_ok())
    }

    /// Ends it, and has it take away what it put into the kernel.
    pub fn clean_up(&mut self, machine: &Machine) -> Result<()> {
        self.server.kill()?;
        match &self.services {
            Services::None | Services::DaemonSet { .. } => return Ok(()),
            Services::Bowline { program, .. } => machine.output(program.canonicalize()?, &["cleanup"])?,
            Services::KubeProxy { .. } => machine.output(binary("kube-proxy")?, &["--cleanup"])?,
        };
        Ok(())
    }

    /// From the next start on, another program and other flags: an upgrade.
    pub fn set(&mut self, services: Services) {
        self.services = services;
    }

    /// Its process.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    pub(crate) fn let_go(&mut self) {
        self.server.let_go();
    }
}

/// Where the agent's kubeconfig is.
fn kubeconfig(api: &ApiServer, node: &str, name: &str) -> PathBuf {
    api.folder().join(format!("{node}-{name}.kubeconfig"))
}
