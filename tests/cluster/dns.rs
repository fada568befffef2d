//! The cluster's DNS, as pods see it: by dig, and by glibc's and musl's getaddrinfo; while its Corefile is edited, and
//! while its Deployment is updated.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bowline_lab::kubernetes::image;
use bowline_lab::wait_for;
use serde_json::{Value, json};

use crate::ground::{Ground, Namespace, PATIENCE, service};
use crate::resolver::{LIBRARIES, Lookups, finish, go_on, resolver_pod};

/// Endpoints of the Service `crowd`: their addresses don't fit into a datagram.
const CROWD: u8 = 100;

/// A pod with a name of its own below the Service `peers`.
fn peer(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "peers"}},
        "spec": {
            "nodeName": node, "hostname": name, "subdomain": "peers",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image("busybox"), "command": ["/bin/sleep", "1000000"]}],
        },
    })
}

/// A headless Service over 100 addresses that nobody has.
fn crowd() -> [Value; 2] {
    let endpoints: Vec<Value> = (1..=CROWD).map(|n| json!({"addresses": [format!("198.18.0.{n}")]})).collect();
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "crowd"},
            "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "crowd", "labels": {"kubernetes.io/service-name": "crowd"}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": 80}],
        }),
    ]
}

/// What dig says in a pod, in short: one record's data a line, sorted.
#[track_caller]
fn dig(namespace: &Namespace<'_>, words: &[&str]) -> Vec<String> {
    let command = [&["dig", "+short"], words].concat();
    let said = namespace.exec("client", &command).unwrap_or_else(|error| panic!("{words:?}: {error:#}"));
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// The addresses of a name by a library's getaddrinfo.
#[track_caller]
fn resolve(namespace: &Namespace<'_>, library: &str, name: &str) -> BTreeSet<IpAddr> {
    let said = namespace.exec("client", &[library, name]).unwrap_or_else(|error| panic!("{library} {name}: {error:#}"));
    said.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

/// All addresses of the pods with this label, in one family.
fn pod_ips(namespace: &Namespace<'_>, app: &str, v6: bool) -> Vec<String> {
    let pods = namespace.ground.get(&["-n", &namespace.name, "pods", "-l", &format!("app={app}")]);
    let pods = pods["items"].as_array().unwrap().iter();
    let ips = pods.flat_map(|pod| pod["status"]["podIPs"].as_array().unwrap().clone());
    let mut ips: Vec<String> = ips.map(|ip| ip["ip"].as_str().unwrap().to_owned()).collect();
    ips.retain(|ip| ip.contains(':') == v6);
    ips.sort_unstable();
    ips
}

/// The addresses of the DNS servers' pods, IPv4.
fn servers(ground: &Ground) -> Vec<String> {
    let pods = ground.get(&["-n", "kube-system", "pods", "-l", "k8s-app=kube-dns"]);
    let pods = pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods.map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pods_find_every_kind_of_name() {
    let ground = Ground::new();
    let namespace = ground.namespace("names");
    namespace.serve("web", 2);
    let mut peers = service("peers", &json!({"app": "peers"}));
    peers["spec"]["clusterIP"] = json!("None");
    namespace.apply(&[peers, peer("peer-1", "node-1"), peer("peer-2", "node-2"), resolver_pod("client", "node-1")]);
    namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod", "--all"]);
    let peers = "peers.names.svc.cluster.local";
    wait_for("both peers by name", PATIENCE, || dig(&namespace, &["AAAA", peers]).len() == 2).unwrap();
    let ips: Vec<String> = namespace.addresses("web").iter().map(|address| address.ip().to_string()).collect();

    // A Service: whole, by the search path, over TCP, in letters of either case.
    assert_eq!(dig(&namespace, &["A", "web.names.svc.cluster.local"]), [ips[0].clone()]);
    assert_eq!(dig(&namespace, &["AAAA", "web.names.svc.cluster.local"]), [ips[1].clone()]);
    assert_eq!(dig(&namespace, &["+search", "A", "web"]), [ips[0].clone()]);
    assert_eq!(dig(&namespace, &["+tcp", "A", "wEb.NAMES.svc.Cluster.local"]), [ips[0].clone()]);
    let api = dig(&namespace, &["A", "kubernetes.default.svc.cluster.local"]);
    assert_eq!(api, ["10.96.0.1"]);
    // A headless one: its endpoints, and each by its own name.
    let (v4, v6) = (pod_ips(&namespace, "peers", false), pod_ips(&namespace, "peers", true));
    assert_eq!(dig(&namespace, &["A", peers]), v4);
    assert_eq!(dig(&namespace, &["AAAA", peers]), v6);
    let mut each: Vec<String> =
        ["peer-1", "peer-2"].iter().flat_map(|peer| dig(&namespace, &["A", &format!("{peer}.{peers}")])).collect();
    each.sort_unstable();
    assert_eq!(each, v4);
    // SRV: the Service's own name (each of its two addresses has half of the weight), and the names of endpoints.
    let port = dig(&namespace, &["SRV", "_tcp._tcp.web.names.svc.cluster.local"]);
    assert_eq!(port, ["0 50 80 web.names.svc.cluster.local."]);
    let ports = dig(&namespace, &["SRV", &format!("_udp._udp.{peers}")]);
    let targets: BTreeSet<_> = ports.iter().map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(targets, BTreeSet::from([format!("peer-1.{peers}."), format!("peer-2.{peers}.")]), "{ports:?}");
    // And back, in both families.
    for ip in &ips {
        assert_eq!(dig(&namespace, &["-x", ip]), ["web.names.svc.cluster.local."]);
    }
    let back: BTreeSet<_> = v4.iter().chain(&v6).flat_map(|ip| dig(&namespace, &["-x", ip])).collect();
    assert_eq!(back, targets);
    // `pods insecure`: whatever the name says.
    assert_eq!(dig(&namespace, &["A", "10-244-9-9.names.pod.cluster.local"]), ["10.244.9.9"]);
    // Outside, by the resolver that the nodes have.
    assert_eq!(dig(&namespace, &["A", "www.beyond.test"]), ["192.0.2.80"]);
    assert_eq!(dig(&namespace, &["AAAA", "www.beyond.test"]), ["2001:db8::80"]);
    // What is not there: NXDOMAIN with the zone's SOA, no datum where the name has another type.
    for (name, status) in [("nobody.names.svc.cluster.local", "NXDOMAIN"), ("svc.cluster.local", "NOERROR")] {
        let said = namespace.exec("client", &["dig", "A", name]).unwrap();
        assert!(said.contains(&format!("status: {status}")) && said.contains("SOA\tns.dns.cluster.local."), "{said}");
    }
}

#[test]
fn both_libraries_resolve_short_names_long_answers_and_both_families_at_once() {
    let ground = Ground::new();
    let namespace = ground.namespace("libraries");
    namespace.serve("web", 1);
    namespace.apply(&crowd());
    namespace.apply(&[resolver_pod("client", "node-2")]);
    namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod/client"]);
    let crowd: BTreeSet<IpAddr> = (1..=CROWD).map(|n| IpAddr::from([198, 18, 0, n])).collect();
    wait_for("the crowd", PATIENCE, || dig(&namespace, &["crowd.libraries.svc.cluster.local"]).len() == crowd.len())
        .unwrap();
    // dig, too, has to go on by TCP for them.
    let truncated = ["dig", "+ignore", "+noedns", "crowd.libraries.svc.cluster.local"];
    let said = namespace.exec("client", &truncated).unwrap();
    assert!(said.lines().any(|line| line.starts_with(";; flags:") && line.contains(" tc")), "{said}");

    let both: BTreeSet<IpAddr> = namespace.addresses("web").iter().map(std::net::SocketAddr::ip).collect();
    let outside = ["192.0.2.80", "2001:db8::80"].map(|ip| ip.parse().unwrap()).into();
    for library in LIBRARIES {
        assert_eq!(resolve(&namespace, library, "web"), both, "{library}");
        assert_eq!(resolve(&namespace, library, "web.libraries.svc"), both, "{library}");
        assert_eq!(resolve(&namespace, library, "www.beyond.test"), outside, "{library}");
        // musl before 1.2.4 asks nobody by TCP: it takes what the datagram has.
        let (near, far) = (resolve(&namespace, library, "crowd"), resolve(&namespace, library, "many.beyond.test"));
        match library {
            "/resolve-glibc" => assert!(near == crowd && far.len() == 120, "{near:?}, {far:?}"),
            _ => assert!(near.is_subset(&crowd) && near.len() > 20 && far.len() > 20, "{near:?}, {far:?}"),
        }
        let refused = namespace.exec("client", &[library, "nobody.libraries"]).unwrap_err().to_string();
        assert!(!refused.contains("again"), "an answer that there is none, not a failure: {refused}");
    }
    // busybox has a resolver of its own.
    let said = namespace.exec("client", &["nslookup", "web.libraries.svc.cluster.local"]).unwrap();
    assert!(both.iter().all(|ip| said.contains(&ip.to_string())), "{said}");
}

/// The Corefile in the ConfigMap, and a new one in its place. Pods are touched so that their kubelets look now, not
/// within a minute.
fn edit(ground: &Ground, how: impl Fn(&str) -> String) -> String {
    let map = format!("configmap/{}", ground.cluster().dns().deployment());
    let before = ground.get(&["-n", "kube-system", &map])["data"]["Corefile"].as_str().unwrap().to_owned();
    let patch = json!({"data": {"Corefile": how(&before)}}).to_string();
    ground.kubectl(&["-n", "kube-system", "patch", &map, "--patch", &patch]);
    let touched = format!("touched={}", patch.len());
    let touch = ["-n", "kube-system", "annotate", "--overwrite", "pods", "-l", "k8s-app=kube-dns", &touched];
    ground.kubectl(&touch);
    before
}

/// Names of each kind that a storm asks for: by the search path, the cluster's, outside.
const NAMES: [&str; 4] = ["kubernetes.default", "kube-dns.kube-system.svc.cluster.local", "www.beyond.test", "crowd"];

#[test]
fn an_edited_corefile_takes_effect_without_a_lost_lookup() {
    let ground = Ground::new();
    let namespace = ground.namespace("edit");
    namespace.apply(&crowd());
    namespace.apply(&[resolver_pod("client", "node-1")]);
    namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod/client"]);
    let lookups = Lookups::both(ground.cluster(), "edit", "client", &NAMES);
    go_on(&lookups, 100);
    let servers = servers(&ground);
    assert_eq!(servers.len(), 2);
    let everywhere = |what: &str, wanted: &[&str]| {
        wait_for(what, PATIENCE, || {
            servers.iter().all(|server| dig(&namespace, &[&format!("@{server}"), "edited.test"]) == wanted)
        })
        .unwrap();
        go_on(&lookups, 50);
    };

    let hosts = "hosts {\n 192.0.2.99 edited.test\n fallthrough\n }\n reload 2s 1s\n";
    let before = edit(&ground, |corefile| corefile.replace("    reload\n", hosts));
    everywhere("the edit to be served", &["192.0.2.99"]);
    // One that can't be served changes nothing, and is counted.
    edit(&ground, |corefile| corefile.replace("errors\n", "errors\n nosuchplugin\n"));
    let failed = |server: &str| {
        let node = &ground.cluster().nodes()[0].machine;
        let page = node.output("curl", &["-s", "-m5", &format!("http://{server}:9153/metrics")]).unwrap_or_default();
        let count = page.lines().find_map(|line| line.strip_prefix("coredns_reload_failed_total "));
        count.and_then(|count| count.parse::<f64>().ok()).is_some_and(|count| count > 0.0)
    };
    wait_for("the refusal to be counted", PATIENCE, || servers.iter().all(|server| failed(server))).unwrap();
    everywhere("the edit to be served still", &["192.0.2.99"]);
    edit(&ground, |_| before.clone());
    everywhere("it to be taken back", &[]);
    println!("{}", finish(lookups));
}

#[test]
fn a_rolling_update_of_the_dns_fails_no_lookup() {
    let ground = Ground::new();
    let namespace = ground.namespace("roll");
    namespace.apply(&crowd());
    namespace.apply(&[resolver_pod("client", "node-2"), resolver_pod("near", "node-1")]);
    namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod", "--all"]);
    let mut lookups = Lookups::both(ground.cluster(), "roll", "client", &NAMES);
    lookups.extend(Lookups::both(ground.cluster(), "roll", "near", &NAMES));
    go_on(&lookups, 100);
    let (deployment, before) = (format!("deployment/{}", ground.cluster().dns().deployment()), servers(&ground));
    for _ in 0..2 {
        ground.kubectl(&["-n", "kube-system", "rollout", "restart", &deployment]);
        ground.kubectl(&["-n", "kube-system", "rollout", "status", "--timeout=180s", &deployment]);
        go_on(&lookups, 50);
    }
    // The last ones have ended, too.
    let all = || ground.get(&["-n", "kube-system", "pods", "-l", "k8s-app=kube-dns"])["items"].as_array().map(Vec::len);
    wait_for("two pods of the DNS", PATIENCE, || all() == Some(2)).unwrap();
    go_on(&lookups, 50);
    assert!(servers(&ground).iter().all(|server| !before.contains(server)));
    println!("{}", finish(lookups));
}
