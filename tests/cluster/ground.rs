//! The cluster that the tests share, and what they do with it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bowline_lab::kubernetes::{Cluster, ClusterNode, ClusterOptions, Dns, Image, POD_NETWORK, Services, image};
use bowline_lab::{Host, Lab, Report, Storm, StormArgs, lab_net, wait_for};
use serde_json::{Value, json};

use crate::resolver::resolver_image;

/// For a defect, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// Where the servers of tests listen, for TCP and UDP, in both families.
pub(crate) const PORT: u16 = 80;
/// Between two connections of a storm's client: the cluster needs the CPUs too.
const PAUSE: u64 = 2;

/// The cluster, for one test at a time.
pub(crate) struct Ground(MutexGuard<'static, Option<Result<Cluster, String>>>);

impl Ground {
    /// The shared cluster; the first one to ask starts it.
    pub(crate) fn new() -> Ground {
        static CLUSTER: Mutex<Option<Result<Cluster, String>>> = Mutex::new(None);
        let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        // If it failed once, it will again: each further test fails at once.
        cluster.get_or_insert_with(|| start().map_err(|err| format!("{err:#}"))).as_ref().unwrap();
        Ground(cluster)
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.0.as_ref().unwrap().as_ref().unwrap()
    }

    pub(crate) fn cluster_mut(&mut self) -> &mut Cluster {
        self.0.as_mut().unwrap().as_mut().unwrap()
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.cluster().kubectl(args).unwrap()
    }

    /// An object or a list of them.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], args].concat())).unwrap()
    }

    /// A new namespace, which goes with all in it when dropped.
    pub(crate) fn namespace(&self, name: &str) -> Namespace<'_> {
        self.cluster()
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string())
            .unwrap();
        // Pods are refused before it is there.
        let account = ["-n", name, "serviceaccount", "default"];
        wait_for("a service account", PATIENCE, || self.cluster().kubectl(&[&["get"], &account[..]].concat()).is_ok())
            .unwrap();
        Namespace { ground: self, name: name.to_owned() }
    }
}

fn start() -> anyhow::Result<Cluster> {
    let lab = Lab::new("cluster")?;
    lab.remove_at_exit()?;
    let services = match std::env::var("BOWLINE_TEST_SERVICES").as_deref() {
        Ok("kube-proxy") => kube_proxy(),
        _ => bowline(),
    };
    let dns = match std::env::var("BOWLINE_TEST_DNS").as_deref() {
        Ok("coredns") => Dns::CoreDns,
        _ => Dns::Bowline { program: env!("CARGO_BIN_EXE_bowline").into() },
    };
    let images = vec![Image::of("lab-net", lab_net()?), resolver_image(&lab.folder("resolver")?)];
    let options = ClusterOptions { nodes: 2, services, dns, images, verbose: true };
    Cluster::start(lab, &options)
}

/// The `bowline` of this build.
pub(crate) fn bowline() -> Services {
    Services::Bowline { program: env!("CARGO_BIN_EXE_bowline").into(), flags: vec![POD_NETWORK.into()] }
}

/// kube-proxy as most run it today.
pub(crate) fn kube_proxy() -> Services {
    Services::KubeProxy { mode: "nftables".into() }
}

/// A namespace of the cluster.
pub(crate) struct Namespace<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) name: String,
}

impl Namespace<'_> {
    /// Makes these objects; `metadata.namespace` is put in.
    pub(crate) fn apply(&self, objects: &[Value]) {
        let mut text = String::new();
        for object in objects {
            let mut object = object.clone();
            object["metadata"]["namespace"] = json!(self.name);
            text += &format!("---\n{object}\n");
        }
        self.ground.cluster().apply(&text).unwrap();
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.ground.kubectl(&[&["-n", &self.name], args].concat())
    }

    /// A Deployment of servers `web-<pod's address>` under this name, and its Service, dual stack; waits for it.
    pub(crate) fn serve(&self, name: &str, replicas: usize) {
        self.apply(&[deployment(name, replicas), service(name, &json!({"app": name}))]);
        self.rolled_out(name);
    }

    /// Waits until a Deployment is what it is to be.
    pub(crate) fn rolled_out(&self, name: &str) {
        self.kubectl(&["rollout", "status", "--timeout=180s", &format!("deployment/{name}")]);
    }

    /// The addresses of a Service with the port of the servers, IPv4 first.
    pub(crate) fn addresses(&self, service: &str) -> Vec<SocketAddr> {
        let service = self.ground.get(&["-n", &self.name, "service", service]);
        let ips = service["spec"]["clusterIPs"].as_array().unwrap();
        ips.iter().map(|ip| (ip.as_str().unwrap().parse::<IpAddr>().unwrap(), PORT).into()).collect()
    }

    /// Makes a pod that waits to be told what to do, on this node.
    pub(crate) fn client(&self, name: &str, node: &str) {
        let mut pod = pod(name, &json!({"image": image("lab-net"), "command": ["/bin/sleep", "1000000"]}));
        pod["spec"]["nodeName"] = json!(node);
        self.apply(&[pod]);
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", &format!("pod/{name}")]);
    }

    /// Runs a program in a pod and returns what it printed.
    pub(crate) fn exec(&self, pod: &str, command: &[&str]) -> anyhow::Result<String> {
        self.ground.cluster().kubectl(&[&["-n", &self.name, "exec", pod, "--"], command].concat())
    }

    /// A storm in a pod.
    pub(crate) fn storm(&self, pod: &str, args: &StormArgs) -> Storm {
        let args = args.clone().pause(PAUSE);
        let words = ["-n", &self.name, "exec", "-i", pod, "--", "/lab-net"];
        let mut command = self.ground.cluster().api().kubectl_command(&words).unwrap();
        // By WebSocket kubectl gives up where a machine is too busy to answer its pings.
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
        Storm::start_by(command, &args).unwrap()
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let deleted = self.ground.cluster().kubectl(&["delete", "namespace", &self.name, "--timeout=180s"]);
        if let Err(err) = deleted {
            eprintln!("{err:#}");
        }
    }
}

/// A storm of a node's own processes.
pub(crate) fn storm_on(host: &Host, args: &StormArgs) -> Storm {
    Storm::start(host, &args.clone().pause(PAUSE)).unwrap()
}

/// Asks an address once, from a node, and returns the server's name.
pub(crate) fn ask(node: &ClusterNode, address: SocketAddr) -> anyhow::Result<String> {
    let text = node.machine.output(lab_net()?, &["connect", "--target", &address.to_string()])?;
    let name = serde_json::from_str::<Value>(&text)?["name"].as_str().map(str::to_owned);
    name.with_context(|| format!("nobody answered at {address}: {text}"))
}

/// Storms over all these addresses: one of each node's own processes, one in each of these pods.
pub(crate) fn storms(namespace: &Namespace<'_>, pods: &[&str], addresses: &[SocketAddr], service: &str) -> Vec<Storm> {
    let args = addresses.iter().fold(StormArgs::new(), |args, &address| args.target(address, service));
    let nodes = namespace.ground.cluster().nodes().iter().map(|node| storm_on(&node.machine, &args));
    let storms: Vec<_> = nodes.chain(pods.iter().map(|pod| namespace.storm(pod, &args))).collect();
    wait_for_more(&storms, 20);
    storms
}

/// Waits until each storm has got so many more answers: some fail where kube-proxy is at work, and take 5 s then.
pub(crate) fn wait_for_more(storms: &[Storm], answers: u64) {
    let goals: Vec<_> = storms.iter().map(|storm| storm.count().unwrap().answers + answers).collect();
    for (storm, goal) in storms.iter().zip(goals) {
        let what = format!("{answers} more answers to a storm");
        wait_for(&what, PATIENCE, || storm.count().unwrap().answers >= goal).unwrap();
    }
}

/// Ends storms; all they have seen, in one report.
pub(crate) fn finish(storms: Vec<Storm>) -> Report {
    let mut all = Report::default();
    for storm in storms {
        let report = storm.finish().unwrap();
        all.connects += report.connects;
        all.failed += report.failed;
        all.failures.extend(report.failures);
        all.seconds = all.seconds.max(report.seconds);
        for (name, answers) in report.names {
            *all.names.entry(name).or_default() += answers;
        }
    }
    all
}

/// A pod of one container.
pub(crate) fn pod(name: &str, container: &Value) -> Value {
    let mut container = container.clone();
    container["name"] = json!("main");
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    })
}

/// Servers that go on for 2 seconds after SIGTERM, as a program does that ends its work, and have no preStop:
/// as the first process of their container they have no handler of the signal, and then SIGKILL comes.
pub(crate) fn deployment(name: &str, replicas: usize) -> Value {
    let listen = format!("[::]:{PORT}");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": name}},
                    }],
                    "containers": [{
                        "name": "main",
                        "image": image("lab-net"),
                        "args": ["serve", "--tcp", listen, "--udp", listen, "--id", format!("{name}-$(IP)")],
                        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

/// A dual-stack Service over pods with these labels.
pub(crate) fn service(name: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": selector,
            "ports": [
                {"name": "tcp", "port": PORT, "protocol": "TCP"},
                {"name": "udp", "port": PORT, "protocol": "UDP"},
            ],
        },
    })
}
