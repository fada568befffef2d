//! What makes a machine a node of a cluster: containerd, kubelet, and the reference plugins for pods.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::beyond::Beyond;
use super::images::image;
use super::{ApiServer, Machine, Server, Services, binary};

/// Where the cluster's DNS answers.
pub const CLUSTER_DNS: &str = "10.96.0.10";
/// The folders in which distributions have the reference plugins.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
const CONTAINERD: &str = "/run/containerd/containerd.sock";
const KUBELET: &str = "/var/lib/kubelet";
/// On the node: where containerd looks for the network of pods.
pub(crate) const NETWORKS: &str = "/var/lib/cni/net.d";
/// On the node: where it looks for plugins, where Bowline gives pods their network. It is empty at first.
pub(crate) const OWN_PLUGINS: &str = "/opt/cni/bin";

/// containerd and kubelet on a machine.
#[derive(Debug)]
pub struct Kubelet {
    containerd: Server,
    server: Server,
}

impl Kubelet {
    /// Starts containerd on this machine, with the reference plugins or, where pods get their network from `services`,
    /// with none. The kubelet waits for [`Kubelet::join`].
    pub fn new(machine: &Machine, services: &Services) -> Result<Kubelet> {
        let reference = PLUGINS.iter().find(|dir| Path::new(dir).join("bridge").is_file());
        let plugins = match reference {
            _ if services.has_pod_network() => {
                // As on a node on which nobody has installed them.
                if reference.is_some_and(|plugins| *plugins != OWN_PLUGINS) {
                    machine.output("mount", &["-t", "tmpfs", "tmpfs", PLUGINS[0]])?;
                }
                Path::new(OWN_PLUGINS).to_owned()
            }
            // /opt is the node's own, so plugins that stand there would be hidden.
            Some(plugins) => Path::new(plugins).canonicalize()?,
            None => bail!("the CNI reference plugins are in none of {PLUGINS:?}: run 'scripts/setup kubernetes'"),
        };
        let log = |name: &str| machine.path(&format!("/var/log/{name}.log"));
        let mut kubelet = Kubelet {
            containerd: Server::new(format!("containerd of {}", machine.name()), log("containerd")),
            server: Server::new(format!("kubelet of {}", machine.name()), log("kubelet")),
        };
        machine.write(
            "/var/lib/containerd/config.toml",
            &format!(
                r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/opt/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Machines of tests may not be allowed to lower the score, nor have AppArmor's tools.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{NETWORKS}"
"#,
                pause = image("pause"),
                plugins = plugins.display()
            ),
        )?;
        fs::create_dir_all(machine.path(NETWORKS))?;
        kubelet.start_containerd(machine)?;
        Ok(kubelet)
    }

    /// Starts containerd (again) and waits until it answers.
    pub fn start_containerd(&mut self, machine: &Machine) -> Result<()> {
        let mut command = machine.command("containerd");
        self.containerd.start(command.args(["--config", "/var/lib/containerd/config.toml", "--log-level", "warn"]))?;
        self.containerd.wait_until("an answer", || machine.output("ctr", &["version"]).is_ok())
    }

    /// Brings an image in, a docker archive.
    pub fn import(&self, machine: &Machine, archive: &Path) -> Result<()> {
        machine.output("ctr", &["-n", "k8s.io", "images", "import", &archive.to_string_lossy()])?;
        Ok(())
    }

    /// Gives pods their network: a bridge, with these ranges of addresses.
    pub fn network(&self, machine: &Machine, pod_cidrs: &[String]) -> Result<()> {
        let ranges: Vec<_> = pod_cidrs.iter().map(|cidr| json!([{"subnet": cidr}])).collect();
        let network = json!({
            "cniVersion": "1.0.0",
            "name": "lab",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": true,
                "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": ranges},
            }, {"type": "portmap", "capabilities": {"portMappings": true}}],
        });
        machine.write(&format!("{NETWORKS}/10-lab.conflist"), &network.to_string())
    }

    /// Starts the kubelet as a node of this cluster. Its Node is to be there already.
    pub fn join(&mut self, machine: &Machine, api: &ApiServer) -> Result<()> {
        let name = machine.name();
        let kubeconfig = api.client_kubeconfig(name, &format!("system:node:{name}"), &["system:nodes"])?;
        let addresses: [IpAddr; 2] = [machine.v4().into(), machine.v6().into()];
        let serving = api.authority().server(&format!("{name}-kubelet"), &[name], &addresses)?;
        machine.write(&format!("{KUBELET}/resolv.conf"), &Beyond::resolv_conf())?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": api.authority().certificate()},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": serving.certificate,
            "tlsPrivateKeyFile": serving.key,
            "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": format!("{KUBELET}/resolv.conf"),
            "volumePluginDir": format!("{KUBELET}/volume-plugins"),
            // The node's cgroups are what runc makes; no tree of qualities of service is wanted.
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": false,
            "enforceNodeAllocatable": [],
            "failCgroupV1": false,
            "failSwapOn": false,
            "oomScoreAdj": 0,
            "maxPods": 250,
            // The disk is this machine's and not the node's: its fill is no reason to evict.
            "evictionHard": {
                "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                "nodefs.inodesFree": "1%", "imagefs.inodesFree": "1%",
            },
            "imageGCHighThresholdPercent": 100,
        });
        machine.write(&format!("{KUBELET}/config.json"), &config.to_string())?;
        fs::copy(&kubeconfig, machine.path(&format!("{KUBELET}/kubeconfig"))).context("cannot copy a kubeconfig")?;
        self.start(machine)
    }

    /// Starts the kubelet (again), without waiting.
    pub fn start(&mut self, machine: &Machine) -> Result<()> {
        let mut command = machine.command(binary("kubelet")?);
        command.arg(format!("--config={KUBELET}/config.json"));
        command.arg(format!("--kubeconfig={KUBELET}/kubeconfig"));
        command.arg(format!("--hostname-override={}", machine.name()));
        command.arg(format!("--node-ip={},{}", machine.v4(), machine.v6()));
        self.server.start(&mut command)
    }

    /// The kubelet's process.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// containerd's process.
    pub fn containerd_mut(&mut self) -> &mut Server {
        &mut self.containerd
    }

    pub(crate) fn let_go(&mut self) {
        self.containerd.let_go();
        self.server.let_go();
    }
}
