//! The cluster's DNS, as docs/deploy-dns.md leads through it: Bowline's comes beside CoreDNS, on CoreDNS's own Corefile,
//! CoreDNS goes, comes back, and Bowline's goes; while pods ask without pause.

use std::sync::PoisonError;
use std::time::Duration;

use bowline_lab::kubernetes::{Cluster, ClusterOptions, Deploy, Dns, Overlay, Services};
use bowline_lab::{Lab, wait_for};
use serde_json::Value;

use crate::cluster::{ALONE, apply, rolled_out};
use crate::image;
use crate::resolver::{Lookups, finish, go_on, resolver_image, resolver_pod};

const PATIENCE: Duration = Duration::from_secs(120);
const NAMES: [&str; 3] = ["kubernetes.default", "kube-dns.kube-system.svc.cluster.local", "www.beyond.test"];

/// How many pods of this Deployment the Service kube-dns leads to.
fn behind(cluster: &Cluster, deployment: &str) -> usize {
    let slices =
        ["get", "endpointslices", "-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns", "-o", "json"];
    let slices: Value = serde_json::from_str(&cluster.kubectl(&slices).unwrap()).unwrap();
    let slices = slices["items"].as_array().unwrap().iter().filter(|slice| slice["addressType"] == "IPv4");
    let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    let of = |endpoint: &Value| endpoint.pointer("/targetRef/name").unwrap().as_str().unwrap().starts_with(deployment);
    endpoints.filter(|endpoint| endpoint.pointer("/conditions/ready").unwrap() == true && of(endpoint)).count()
}

/// The Service's identity and address.
fn service(cluster: &Cluster) -> [Value; 3] {
    let service = ["get", "service", "kube-dns", "-n", "kube-system", "-o", "json"];
    let service: Value = serde_json::from_str(&cluster.kubectl(&service).unwrap()).unwrap();
    ["/metadata/uid", "/spec/clusterIPs", "/spec/ports"].map(|at| service.pointer(at).unwrap().clone())
}

#[test]
fn from_coredns_and_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new("deploy-dns").unwrap();
    let archive = image::build(&lab);
    let deploy = Deploy::new(&lab).unwrap();
    let images = vec![resolver_image(&lab.folder("resolver").unwrap())];
    let services = Services::Bowline { program: env!("CARGO_BIN_EXE_bowline").into(), flags: Vec::new() };
    let options = ClusterOptions { nodes: 2, services, dns: Dns::CoreDns, images, verbose: false };
    let cluster = Cluster::start(lab, &options).unwrap();
    for node in cluster.nodes() {
        node.kubelet.import(&node.machine, &archive).unwrap();
    }
    for (pod, node) in [("client-1", "node-1"), ("client-2", "node-2")] {
        let mut pod = resolver_pod(pod, node);
        pod["metadata"]["namespace"] = "default".into();
        cluster.apply(&pod.to_string()).unwrap();
    }
    cluster.kubectl_wait(&["--for=condition=Ready", "pod/client-1", "pod/client-2"]).unwrap();
    let mut lookups = Lookups::both(&cluster, "default", "client-1", &NAMES);
    lookups.extend(Lookups::both(&cluster, "default", "client-2", &NAMES));
    go_on(&lookups, 50);
    let before = service(&cluster);

    // Beside each other.
    apply(
        &cluster,
        &deploy.overlay("mine-dns", &Overlay::new(&["dns"], image::NAME).components(&["coredns-corefile"])).unwrap(),
    );
    rolled_out(&cluster, "deployment/bowline-dns");
    wait_for("both behind the Service", PATIENCE, || {
        behind(&cluster, "bowline-dns") == 2 && behind(&cluster, "coredns") == 2
    })
    .unwrap();
    go_on(&lookups, 50);

    // Without CoreDNS.
    let scale = |replicas: &str| {
        cluster
            .kubectl(&["-n", "kube-system", "scale", "deployment/coredns", &format!("--replicas={replicas}")])
            .unwrap();
    };
    scale("0");
    let pods = |name: &str| {
        let names = cluster.kubectl(&["get", "pods", "-n", "kube-system", "-o", "name"]).unwrap();
        names.lines().filter(|pod| pod.starts_with(&format!("pod/{name}"))).count()
    };
    wait_for("the end of CoreDNS", PATIENCE, || pods("coredns") == 0).unwrap();
    go_on(&lookups, 50);
    assert_eq!((behind(&cluster, "bowline-dns"), service(&cluster)), (2, before.clone()));

    // Back.
    scale("2");
    rolled_out(&cluster, "deployment/coredns");
    wait_for("CoreDNS behind the Service", PATIENCE, || behind(&cluster, "coredns") == 2).unwrap();
    cluster.kubectl(&["delete", "--kustomize", &deploy.path("mine-dns")]).unwrap();
    wait_for("the end of Bowline's", PATIENCE, || pods("bowline-dns") == 0).unwrap();
    go_on(&lookups, 50);
    println!("{}", finish(lookups));
    assert_eq!(service(&cluster), before);
    // CoreDNS's Corefile was read by two, and written by none.
    cluster.kubectl(&["get", "configmap", "coredns", "-n", "kube-system"]).unwrap();
}
