//! A real Kubernetes of several nodes on this machine.
//!
//! In code a [`Cluster`] goes when it is dropped; in a lasting lab it can be kept, and found by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::beyond::Beyond;
use super::images::{self, Image};
use super::kubelet::{CLUSTER_DNS, Kubelet};
use super::machine::command_by_folder;
use super::services::apply_daemon_set;
use super::{ApiServer, ControlPlane, Dns, Machine, PATIENCE, ServiceAgent, Services, binary};
use crate::lab::NETNS;
use crate::{Lab, wait_for};

const BOWLINE_RBAC: [&str; 2] =
    [include_str!("../../../deploy/base/rbac.yaml"), include_str!("../../../deploy/components/pod-network/rbac.yaml")];
/// The name of the file in the cluster's folder that says it is whole, and how to use kubectl.
const KUBECTL: &str = "kubectl";

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many nodes, `node-1` and so on.
    pub nodes: usize,
    /// Who serves the addresses of Services.
    pub services: Services,
    /// Who answers the cluster's DNS.
    pub dns: Dns,
    /// Images besides the usual ones.
    pub images: Vec<Image>,
    /// Print each step and how long it took.
    pub verbose: bool,
}

/// A node of a cluster.
#[derive(Debug)]
pub struct ClusterNode {
    /// Where it runs: commands, addresses, cgroup.
    pub machine: Machine,
    /// containerd and kubelet.
    pub kubelet: Kubelet,
    /// bowline or kube-proxy.
    pub services: ServiceAgent,
}

/// A cluster; all of it ends when dropped, its lab too.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<ClusterNode>,
    plane: ControlPlane,
    beyond: Beyond,
    dns: Dns,
    lab: Lab,
}

impl Cluster {
    /// Starts a cluster in this lab and waits until its nodes are ready, DNS answers, and the addresses of
    /// Services are served.
    pub fn start(lab: Lab, options: &ClusterOptions) -> Result<Cluster> {
        ensure!((1..=9).contains(&options.nodes), "a cluster has 1 to 9 nodes");
        let steps = Steps { verbose: options.verbose };
        let names: Vec<_> = (1..=options.nodes).map(|n| format!("node-{n}")).collect();
        let (machines, beyond) = steps.run("namespaces, cgroups and mounts of the nodes", || {
            let machines: Vec<_> = names.iter().map(|name| Machine::new(&lab, name)).collect::<Result<_>>()?;
            let beyond = Beyond::new(&lab, &machines)?;
            Ok((machines, beyond))
        })?;
        let first = machines.first().context("no nodes")?;
        // Images take a CPU, the API server waits for much: they go side by side.
        let (plane, kubelets) = std::thread::scope(|scope| {
            let kubelets = scope.spawn(|| {
                let archives = steps.run("images", || archives(&lab, options))?;
                steps.run("containerd with these images on each node", || {
                    each(&machines, |machine| {
                        let kubelet = Kubelet::new(machine, &options.services)?;
                        archives.iter().try_for_each(|archive| kubelet.import(machine, archive))?;
                        Ok(kubelet)
                    })
                })
            });
            let plane =
                steps.run("etcd, API server, controller manager, scheduler", || ControlPlane::start(&lab, first));
            (plane, joined(kubelets))
        });
        let (mut plane, kubelets) = (plane?, kubelets?);
        let mut nodes = Vec::new();
        steps.run("kubelets", || {
            register(&mut plane, &machines)?;
            for (machine, mut kubelet) in machines.into_iter().zip(kubelets) {
                kubelet.join(&machine, plane.api())?;
                let services = ServiceAgent::new(&machine, plane.api(), &options.services)?;
                nodes.push(ClusterNode { machine, kubelet, services });
            }
            Ok(())
        })?;
        let mut cluster = Cluster { nodes, plane, beyond, dns: options.dns.clone(), lab };
        cluster.route_pods(&options.services)?;
        cluster.apply(&BOWLINE_RBAC.join("---\n"))?;
        cluster.dns.apply(&cluster.lab, cluster.plane.api())?;
        steps.run(&format!("{} on each node", described(&options.services)), || match &options.services {
            Services::DaemonSet { program } => apply_daemon_set(&cluster.lab, cluster.plane.api(), program),
            _ => cluster.start_services(),
        })?;
        steps.run("nodes ready", || cluster.kubectl_wait(&["--for=condition=Ready", "nodes", "--all"]))?;
        steps.run(&format!("DNS by {}", cluster.dns.deployment()), || cluster.wait_for_dns(&options.services))?;
        // Its presence says that the cluster is whole.
        let kubectl = cluster.lab.folder("")?.join(KUBECTL);
        std::fs::write(&kubectl, cluster.api().admin().to_string_lossy().as_bytes())?;
        Ok(cluster)
    }

    /// Lets a cluster in a lasting lab go on without us.
    pub fn keep(mut self) {
        self.plane.let_go();
        for node in &mut self.nodes {
            node.kubelet.let_go();
            node.services.let_go();
            node.machine.let_go();
        }
        self.beyond.let_go();
        self.lab.keep();
    }

    /// The nodes.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    /// The nodes, to stop and start what runs on them.
    pub fn nodes_mut(&mut self) -> &mut [ClusterNode] {
        &mut self.nodes
    }

    /// etcd, the API server and their kind, to stop and start them.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// Who answers the cluster's DNS.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The API server.
    pub fn api(&self) -> &ApiServer {
        self.plane.api()
    }

    /// The lab in which all of it is.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Runs `kubectl` as the administrator and returns what it printed; an error unless it succeeds.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.api().kubectl(args)
    }

    /// `kubectl apply` of this manifest.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.api().apply(manifest)
    }

    /// `kubectl wait` with these arguments, for as long as it takes a busy machine.
    pub fn kubectl_wait(&self, args: &[&str]) -> Result<()> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl(&[&["wait", &timeout], args].concat()).map(drop)
    }

    /// Ends the agents of Services with what they put into the kernel, and has others in their place.
    pub fn replace_services(&mut self, services: &Services) -> Result<()> {
        for node in &mut self.nodes {
            node.services.clean_up(&node.machine)?;
            node.services = ServiceAgent::new(&node.machine, self.plane.api(), services)?;
        }
        self.start_services()
    }

    /// Starts the agent of Services on each node (again), and waits until all are ready.
    pub fn start_services(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.services.start(&node.machine, self.plane.api())?;
        }
        self.nodes.iter_mut().try_for_each(|node| node.services.wait_ready(&node.machine))
    }

    /// Waits until the DNS is there, and answers on each node behind the address of its Service. Where nobody serves
    /// Services it never is: it does not reach the API server.
    fn wait_for_dns(&self, services: &Services) -> Result<()> {
        if *services == Services::None {
            return Ok(());
        }
        let deployment = format!("deployment/{}", self.dns.deployment());
        let available = self.kubectl_wait(&["--for=condition=Available", "-n", "kube-system", &deployment]);
        available.with_context(|| {
            let logs = ["logs", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--prefix", "--tail=5"];
            format!("the DNS says: {}", self.kubectl(&logs).unwrap_or_default())
        })?;
        for node in &self.nodes {
            let question = ["nslookup", "-type=a", "kubernetes.default.svc.cluster.local", CLUSTER_DNS];
            let what = format!("the cluster's DNS to answer at {CLUSTER_DNS} on {}", node.machine.name());
            wait_for(&what, PATIENCE, || node.machine.output("busybox", &question).is_ok())?;
        }
        Ok(())
    }

    /// Routes between the nodes, for the addresses of pods that the controller manager gave to each; nothing where these
    /// come from the agents.
    fn route_pods(&self, services: &Services) -> Result<()> {
        for node in &self.nodes {
            let cidrs = pod_cidrs(self.api(), node.machine.name())?;
            if services.has_pod_network() {
                // Nor a way back from beyond: pods have their node's address there.
                continue;
            }
            for cidr in &cidrs {
                for other in self.nodes.iter().filter(|other| other.machine.name() != node.machine.name()) {
                    other.machine.ip(&format!("route add {cidr} via {}", node.machine.address_like(cidr)))?;
                }
            }
            self.beyond.route_pods(&node.machine, &cidrs)?;
            node.kubelet.network(&node.machine, &cidrs)?;
        }
        Ok(())
    }
}

/// The kubeconfig of the administrator of a lasting cluster; an error unless it is there, whole.
pub fn lasting_kubeconfig(name: &str) -> Result<PathBuf> {
    let folder = Lab::find_lasting(name)?
        .with_context(|| format!("there is no cluster {name:?}: start it by 'make cluster'"))?;
    let Ok(path) = std::fs::read_to_string(folder.join(KUBECTL)) else {
        bail!("the cluster {name:?} is not whole; its start failed, or has not ended. 'make cluster-down' removes it");
    };
    Ok(path.into())
}

/// A command on a node of a lasting cluster.
pub fn lasting_command(name: &str, node: &str, program: &Path) -> Result<Command> {
    lasting_kubeconfig(name)?;
    let (lab, folder) = lasting(name)?;
    command_by_folder(&folder.join(node), &crate::lab::unified_hierarchy()?.join(lab).join(node), program)
}

/// `kubectl` on a lasting cluster, as its administrator; with this machine's files, in the first node's network.
pub fn lasting_kubectl(name: &str) -> Result<Command> {
    let kubeconfig = lasting_kubeconfig(name)?;
    let (lab, folder) = lasting(name)?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={NETNS}/{lab}.node-1")).arg("--").arg(binary("kubectl")?);
    command.env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", folder.join("kubectl-cache"));
    Ok(command)
}

/// The full name and the folder of a lasting cluster's lab.
fn lasting(name: &str) -> Result<(String, PathBuf)> {
    let folder = Lab::find_lasting(name)?.context("the cluster is gone")?;
    let lab = folder.file_name().and_then(|name| name.to_str()).context("a cluster without a name")?;
    Ok((lab.to_owned(), folder))
}

/// Says what is done and how long it took.
struct Steps {
    verbose: bool,
}

impl Steps {
    fn run<T>(&self, what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let done = step().with_context(|| format!("cluster: {what}"))?;
        if self.verbose {
            println!("  {:6.1} s  {what}", began.elapsed().as_secs_f64());
        }
        Ok(done)
    }
}

fn described(services: &Services) -> String {
    match services {
        Services::Bowline { flags, .. } => format!("bowline node {}", flags.join(" ")),
        Services::KubeProxy { mode } => format!("kube-proxy ({mode})"),
        Services::None => "nobody for Services".into(),
        Services::DaemonSet { .. } => "Bowline's DaemonSet".into(),
    }
}

fn archives(lab: &Lab, options: &ClusterOptions) -> Result<Vec<PathBuf>> {
    let folder = lab.folder("images")?;
    let mut images = images::usual()?;
    images.extend(options.images.iter().cloned());
    let mut more = vec![options.dns.image()?];
    if let Services::DaemonSet { program } = &options.services {
        more.push(Image::bowline(program.clone()));
    }
    for image in more {
        if images.iter().all(|other| other.name != image.name) {
            images.push(image);
        }
    }
    images.iter().map(|image| image.archive(&folder)).collect()
}

/// Makes the Node objects before the kubelets do, so that pods' networks are known when those start.
fn register(plane: &mut ControlPlane, machines: &[Machine]) -> Result<()> {
    for machine in machines {
        let labels = json!({"kubernetes.io/hostname": machine.name()});
        let metadata = json!({"name": machine.name(), "labels": labels});
        plane.api().apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}).to_string())?;
    }
    for machine in machines {
        let what = format!("pods' addresses for {}", machine.name());
        wait_for(&what, PATIENCE, || pod_cidrs(plane.api(), machine.name()).is_ok_and(|cidrs| cidrs.len() == 2))?;
    }
    Ok(())
}

fn pod_cidrs(api: &ApiServer, node: &str) -> Result<Vec<String>> {
    let node: Value = serde_json::from_str(&api.kubectl(&["get", "node", node, "-o", "json"])?)?;
    let cidrs = node.pointer("/spec/podCIDRs").and_then(Value::as_array);
    Ok(cidrs.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Does this for all machines at the same time.
fn each<T: Send>(machines: &[Machine], work: impl Fn(&Machine) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = machines.iter().map(|machine| scope.spawn(|| work(machine))).collect();
        threads.into_iter().map(joined).collect()
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
