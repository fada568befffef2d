//! Pods that come and go on a node, in real network namespaces: what they reach, and what is left of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Command as Program;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline_cluster::follow::{Follower as _, Told};
use bowline_cluster::object::{Node as NodeObject, ObjectName};
use bowline_cluster::snapshot::Snapshot;
use bowline_cni::attachment::Key;
use bowline_cni::datapath::{Datapath, NodeLink, PodWire};
use bowline_cni::network::{Config, Network};
use bowline_cni::ready::Ready;
use bowline_cni_protocol::{CniError, CniResult, Command, NetConf, PortMapping, Reply, Request, wire};
use bowline_lab::{Lab, Node, wait_for};
use bowline_net::{Net, Watch, inside};
use ipnet::IpNet;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// What was told to the programs for packets.
#[derive(Default)]
struct Programs {
    pods: Mutex<BTreeMap<u32, PodWire>>,
    ports: Mutex<Vec<(PortMapping, Vec<IpAddr>)>>,
    links: Mutex<Vec<NodeLink>>,
    inside: Mutex<Vec<IpNet>>,
}

impl Datapath for Programs {
    fn put_pod(&self, wire: &PodWire) -> Result<(), String> {
        self.pods.lock().unwrap().insert(wire.index, wire.clone());
        Ok(())
    }
    fn remove_pods(&self, pods: &[(u32, Vec<IpAddr>)]) {
        for (index, addresses) in pods {
            let removed = self.pods.lock().unwrap().remove(index);
            assert!(removed.is_none_or(|wire| wire.addresses == *addresses));
        }
    }
    fn keep_pods(&self, indices: &[u32]) {
        self.pods.lock().unwrap().retain(|index, _| indices.contains(index));
    }
    fn put_port(&self, port: &PortMapping, addresses: &[IpAddr]) -> Result<(), String> {
        if port.host_port == 666 {
            return Err("it is taken".into());
        }
        self.ports.lock().unwrap().push((port.clone(), addresses.to_vec()));
        Ok(())
    }
    fn remove_port(&self, port: &PortMapping, addresses: &[IpAddr]) {
        self.ports.lock().unwrap().retain(|one| (&one.0, one.1.as_slice()) != (port, addresses));
    }
    fn set_links(&self, links: &[NodeLink], _addresses: &[IpAddr]) -> bool {
        *self.links.lock().unwrap() = links.to_vec();
        true
    }
    fn set_inside(&self, networks: &[IpNet]) {
        *self.inside.lock().unwrap() = networks.to_vec();
    }
}

/// A node whose pods' network runs in this process.
struct Ground {
    lab: Lab,
    node: Node,
    folder: PathBuf,
    told: Arc<Programs>,
    ready: Arc<Ready>,
    network: Option<Network>,
    /// Network namespaces of containers.
    netns: Mutex<Vec<String>>,
}

impl Ground {
    fn new(tag: &str) -> Ground {
        let lab = Lab::new(tag).unwrap();
        let node = lab.node("one").unwrap();
        let folder = lab.folder("cni").unwrap();
        let (told, ready) = (Arc::default(), Arc::new(Ready::default()));
        ready.set(None);
        let mut ground = Ground { lab, node, folder, told, ready, network: None, netns: Mutex::default() };
        ground.start();
        ground
    }

    fn start(&mut self) {
        let config = Config {
            node: "one".into(),
            folder: self.folder.clone(),
            socket: self.folder.join("cni.sock"),
            tombstones: self.folder.join("tombstones"),
            host_local: self.folder.join("networks"),
            tunnels: Default::default(),
            non_masquerade_cidrs: Vec::new(),
            pod_cidrs: ["10.244.1.0/24", "fd44:0:0:1::/64"].map(|one| one.parse().unwrap()).to_vec(),
            mtu: None,
        };
        let (told, ready) = (self.told.clone(), self.ready.clone());
        let netns = File::open(self.node.netns()).unwrap();
        let network = inside(netns.as_fd(), || Network::start(config, told, ready, Box::new(|_, _| {})));
        self.network = Some(network.unwrap().unwrap());
    }

    /// As after a kill: nothing is said to anybody.
    fn restart(&mut self) {
        self.network = None;
        self.start();
    }

    /// The namespace of a container that is made here.
    fn container(&self, name: &str) -> PathBuf {
        let name = format!("{}.{name}", self.node.netns().file_name().unwrap().to_str().unwrap());
        let added = Program::new("ip").args(["netns", "add", &name]).status().unwrap();
        assert!(added.success());
        self.netns.lock().unwrap().push(name.clone());
        PathBuf::from("/run/netns").join(name)
    }

    fn remove(&self, netns: &std::path::Path) {
        let name = netns.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(Program::new("ip").args(["netns", "del", &name]).status().unwrap().success());
        self.netns.lock().unwrap().retain(|one| *one != name);
    }

    fn call_with(
        &self,
        command: Command,
        key: (&str, &str),
        netns: Option<&PathBuf>,
        more: serde_json::Value,
    ) -> Result<Option<CniResult>, CniError> {
        self.request(command, key, netns, more, None)
    }

    /// With IP in CNI_ARGS.
    fn with_args(&self, container: &str, netns: &PathBuf, ip: &str) -> Result<Option<CniResult>, CniError> {
        let mut request = Ground::request_of(Command::Add, (container, "eth0"), Some(netns), json!({}), None);
        request.args.insert("IP".into(), ip.into());
        self.send(&request, Some(netns))
    }

    fn request(
        &self,
        command: Command,
        key: (&str, &str),
        netns: Option<&PathBuf>,
        more: serde_json::Value,
        ipam: Option<CniResult>,
    ) -> Result<Option<CniResult>, CniError> {
        self.send(&Ground::request_of(command, key, netns, more, ipam), netns)
    }

    fn request_of(
        command: Command,
        key: (&str, &str),
        netns: Option<&PathBuf>,
        more: serde_json::Value,
        ipam: Option<CniResult>,
    ) -> Request {
        let mut config = json!({"cniVersion": "1.1.0", "name": "bowline", "type": "bowline-cni"});
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        Request {
            command,
            container_id: key.0.into(),
            ifname: key.1.into(),
            netns: netns.map(|path| path.to_str().unwrap().to_owned()),
            args: BTreeMap::from([("K8S_POD_NAMESPACE".into(), "web".into()), ("K8S_POD_NAME".into(), key.0.into())]),
            traceparent: None,
            config: NetConf::from_json(&config).unwrap(),
            ipam,
        }
    }

    fn send(&self, request: &Request, netns: Option<&PathBuf>) -> Result<Option<CniResult>, CniError> {
        let deadline = Instant::now() + PATIENCE;
        let stream = wire::connect(&self.folder.join("cni.sock"), deadline).unwrap();
        let netns = netns.map(|path| OwnedFd::from(File::open(path).unwrap()));
        wire::send_request(&stream, request, netns.as_ref().map(|fd| fd.as_fd()), deadline).unwrap();
        match wire::receive_reply(&stream, deadline).unwrap() {
            Reply::Done { result } => Ok(result),
            Reply::Failed(error) => Err(error),
        }
    }

    fn call(
        &self,
        command: Command,
        key: (&str, &str),
        netns: Option<&PathBuf>,
    ) -> Result<Option<CniResult>, CniError> {
        self.call_with(command, key, netns, json!({}))
    }

    #[track_caller]
    fn add(&self, container: &str, netns: &PathBuf) -> CniResult {
        self.call(Command::Add, (container, "eth0"), Some(netns)).unwrap().unwrap()
    }

    fn link_names(&self) -> HashSet<String> {
        let netns = File::open(self.node.netns()).unwrap();
        let links = Net::open_in(netns.as_fd()).unwrap().links().unwrap();
        links.into_iter().map(|link| link.name).filter(|name| name.starts_with("bow")).collect()
    }

    #[track_caller]
    fn wait_for_links(&self, count: usize) {
        wait_for(&format!("{count} links"), PATIENCE, || self.link_names().len() == count).unwrap();
    }

    fn held(&self) -> usize {
        self.network.as_ref().unwrap().handle().pods().usage().0
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.network = None;
        for name in self.netns.lock().unwrap().drain(..) {
            let _ = Program::new("ip").args(["netns", "del", &name]).status();
        }
        let _ = &self.lab;
    }
}

fn addresses(result: &CniResult) -> Vec<IpAddr> {
    result.ips.iter().map(|ip| ip.address.addr()).collect()
}

/// From one namespace to an address of another, there and back.
fn reaches(from: &std::path::Path, to: &std::path::Path, address: IpAddr) {
    let (from, to) = (File::open(from).unwrap(), File::open(to).unwrap());
    let listener = inside(to.as_fd(), || TcpListener::bind((address, 80)).unwrap()).unwrap();
    inside(from.as_fd(), || {
        TcpStream::connect_timeout(&(address, 80).into(), PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"))
    })
    .unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_pod_has_its_addresses_and_reaches_its_node_and_other_pods() {
    let ground = Ground::new("cni-pod");
    let (one, two) = (ground.container("a"), ground.container("b"));
    let result = ground.add("a", &one);
    let shown: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(shown, ["10.244.1.2/32", "fd44:0:0:1::2/128"]);
    assert_eq!(result.interfaces.len(), 2);
    assert_eq!((result.interfaces[1].name.as_str(), result.ips[0].interface), ("eth0", Some(1)));
    assert_eq!(result.interfaces[1].sandbox, one.to_str().unwrap());
    let other = ground.add("b", &two);
    let node = ground.node.netns();
    for address in addresses(&other) {
        reaches(&one, &two, address);
        reaches(&node, &two, address);
    }
    reaches(&one, &node, ground.node.v4().into());
    reaches(&one, &node, ground.node.v6().into());
    let told = ground.told.pods.lock().unwrap().values().next().unwrap().clone();
    assert_eq!(told.addresses, addresses(&result));
    assert_eq!(told.pod_mac, Key { container: "a".into(), ifname: "eth0".into() }.macs().1);
    ground.call(Command::Check, ("a", "eth0"), Some(&one)).unwrap();
    for _ in 0..2 {
        ground.call(Command::Del, ("a", "eth0"), None).unwrap();
    }
    ground.wait_for_links(1);
    wait_for("one pod", PATIENCE, || ground.told.pods.lock().unwrap().len() == 1).unwrap();
    let error = ground.call(Command::Check, ("a", "eth0"), Some(&one)).unwrap_err();
    assert_eq!(error.code, CniError::CHECK_FAILED);
}

#[test]
fn the_same_question_has_the_same_answer_and_containers_may_have_several_interfaces() {
    let ground = Ground::new("cni-same");
    let one = ground.container("a");
    let first = ground.add("a", &one);
    assert_eq!(ground.add("a", &one), first);
    let second = ground.call(Command::Add, ("a", "net1"), Some(&one)).unwrap().unwrap();
    assert_ne!(addresses(&first), addresses(&second));
    ground.wait_for_links(2);
    // What somebody else has put there stays.
    let taken = ground.container("taken");
    let said = ground
        .node
        .output("ip", &["-n", taken.file_name().unwrap().to_str().unwrap(), "link", "add", "eth0", "type", "bridge"]);
    said.unwrap();
    let error = ground.call(Command::Add, ("taken", "eth0"), Some(&taken)).unwrap_err();
    assert_eq!(error.code, CniError::INVALID_ENVIRONMENT);
    assert!(error.msg.contains("eth0 already"), "{error}");
    ground.wait_for_links(2);
    assert_eq!(ground.held(), 4);
    // Its namespace went, and a new one has its id.
    ground.remove(&one);
    let again = ground.container("a");
    assert_eq!(addresses(&ground.add("a", &again)), addresses(&first));
}

/// A DEL is answered while the kernel still takes the link away; and a link is given packets the moment an ADD is answered,
/// which the kernel drops where it has not noted yet that both ends are up.
#[test]
fn containers_follow_each_other_in_one_namespace_and_can_be_reached_at_once() {
    let ground = Ground::new("cni-follow");
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let ground = &ground;
            scope.spawn(move || {
                let netns = ground.container(&format!("n{caller}"));
                let node = Net::open_in(File::open(ground.node.netns()).unwrap().as_fd()).unwrap();
                for turn in 0..10 {
                    let key = (format!("c{caller}-{turn}"), "eth0");
                    let result = ground.add(&key.0, &netns);
                    // Of all links, so that to ask does not bring it about.
                    let links = node.links().unwrap();
                    let link = links.iter().find(|link| link.name == result.interfaces[0].name).unwrap();
                    assert!(link.is_running, "{link:?}");
                    ground.call(Command::Del, (&key.0, key.1), Some(&netns)).unwrap();
                }
            });
        }
    });
    ground.wait_for_links(0);
}

#[test]
fn nothing_is_left_of_an_add_that_fails() {
    let ground = Ground::new("cni-fails");
    let one = ground.container("a");
    let ports = json!({"runtimeConfig": {"portMappings": [
        {"hostPort": 80, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 666, "containerPort": 80, "protocol": "tcp"},
    ]}});
    let error = ground.call_with(Command::Add, ("a", "eth0"), Some(&one), ports).unwrap_err();
    assert!(error.code == CniError::FAILED && error.msg.contains("hostPort 666"), "{error}");
    assert_eq!(ground.held(), 0);
    ground.wait_for_links(0);
    assert!(ground.told.ports.lock().unwrap().is_empty() && ground.told.pods.lock().unwrap().is_empty());
    let node = ground.node.netns();
    let error = ground.call(Command::Add, ("host", "eth0"), Some(&node)).unwrap_err();
    assert_eq!(error.code, CniError::INVALID_NETNS);
    // Not before the cluster is known.
    ground.ready.set(Some("not yet".into()));
    let short = json!({"timeout": 1});
    let error = ground.call_with(Command::Add, ("a", "eth0"), Some(&one), short).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (CniError::TRY_AGAIN_LATER, "not yet"));
    assert_eq!(ground.call(Command::Status, ("", ""), None).unwrap_err().code, CniError::NOT_AVAILABLE);
    // An agent that ends lets nobody wait.
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ground.call(Command::Add, ("a", "eth0"), Some(&one)));
        // It waits by then.
        wait_for("a call", PATIENCE, || ground.network.as_ref().unwrap().calls() > 0).unwrap();
        ground.ready.end();
        assert_eq!(waits.join().unwrap().unwrap_err().code, CniError::TRY_AGAIN_LATER);
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    let mut ground = ground;
    ground.ready = Arc::new(Ready::default());
    ground.restart();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| ground.add("a", &one));
        ground.ready.set(None);
        assert_eq!(addresses(&adding.join().unwrap()).len(), 2);
    });
    ground.call(Command::Status, ("", ""), None).unwrap();
}

#[test]
fn an_add_that_is_asked_again_and_fails_leaves_nothing_of_the_first_either() {
    let ground = Ground::new("cni-again");
    let (one, other) = (ground.container("a"), ground.container("b"));
    let others = addresses(&ground.add("b", &other));
    ground.add("a", &one);
    // Its namespace is another one, so that it is wired anew, and what it is given then is another's.
    ground.remove(&one);
    let one = ground.container("a");
    let ipam = json!({"ips": [{"address": format!("{}/32", others[0])}]});
    let ipam = CniResult::from_json(&ipam, "ipam").unwrap();
    let error = ground.request(Command::Add, ("a", "eth0"), Some(&one), json!({}), Some(ipam)).unwrap_err();
    assert_eq!(error.code, CniError::IPAM);
    ground.wait_for_links(1);
    wait_for("the addresses of the first", PATIENCE, || ground.held() == 2).unwrap();
    assert_eq!(ground.told.pods.lock().unwrap().len(), 1);
    let found = ground.network.as_ref().unwrap().handle().pods().list();
    assert_eq!(found.iter().map(|one| one.key.container.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_container_gets_the_addresses_and_the_mtu_that_it_asks_for() {
    let ground = Ground::new("cni-asks");
    let pods = ground.network.as_ref().unwrap().handle().pods().clone();
    let netns = ["a", "b"].map(|name| ground.container(name));
    let asked = ground.call_with(Command::Add, ("a", "eth0"), Some(&netns[0]), json!({"mtu": 1300})).unwrap().unwrap();
    let ips = ground.with_args("b", &netns[1], "10.244.1.77/24,fd44:0:0:1::77").unwrap().unwrap();
    assert_eq!(addresses(&ips), ["10.244.1.77", "fd44:0:0:1::77"].map(|one| one.parse::<IpAddr>().unwrap()));
    let error = ground.with_args("c", &ground.container("c"), "10.244.1.78/24;,").unwrap_err();
    assert!(error.code == CniError::INVALID_ENVIRONMENT && error.msg.contains("IP"), "{error}");
    let mtu = |key: &str| pods.list().into_iter().find(|one| one.key.container == key).map(|one| one.mtu);
    assert_eq!((mtu("a"), mtu("b")), (Some(1300), Some(1500)));
    let own = File::open(ground.node.netns()).unwrap();
    inside(own.as_fd(), || pods.set_shape(1400, &[])).unwrap();
    assert_eq!((mtu("a"), mtu("b")), (Some(1300), Some(1400)), "its own stays, the node's follows");
    drop(asked);
}

#[test]
fn what_was_attached_is_there_after_a_start_whatever_was_lost() {
    let mut ground = Ground::new("cni-start");
    let names = ["a", "b", "c"];
    let containers = names.map(|name| ground.container(name));
    let results: Vec<CniResult> = names.iter().zip(&containers).map(|(name, netns)| ground.add(name, netns)).collect();
    ground.network = None;
    // One namespace goes while nobody looks; one DEL is left as a tombstone.
    ground.remove(&containers[1]);
    let tombstone = bowline_cni_protocol::tombstone::Tombstone {
        container_id: "c".into(),
        ifname: "eth0".into(),
        network: "bowline".into(),
    };
    bowline_cni_protocol::tombstone::write(&ground.folder.join("tombstones"), &tombstone).unwrap();
    wait_for("the link of b", PATIENCE, || ground.link_names().len() == 2).unwrap();
    ground.start();
    ground.wait_for_links(1);
    wait_for("two addresses", PATIENCE, || ground.held() == 2).unwrap();
    assert_eq!(ground.add("a", &containers[0]), results[0]);
    assert!(bowline_cni_protocol::tombstone::list(&ground.folder.join("tombstones")).unwrap().is_empty());

    // The log is gone, the links are there.
    ground.network = None;
    std::fs::remove_file(ground.folder.join("attachments.log")).unwrap();
    ground.start();
    assert_eq!(ground.held(), 2);
    let new = ground.container("d");
    let given = addresses(&ground.add("d", &new));
    assert!(given.iter().all(|one| !addresses(&results[0]).contains(one)), "{given:?}");
    reaches(&new, &containers[0], addresses(&results[0])[0]);
    // A reboot: the log is there, the links are gone.
    ground.network = None;
    for name in ground.link_names() {
        ground.node.output("ip", &["link", "del", &name]).unwrap();
    }
    ground.start();
    assert_eq!(ground.held(), 0);
    ground.restart();
    assert_eq!(ground.held(), 0);
}

#[test]
fn a_collection_never_takes_what_has_a_link() {
    let ground = Ground::new("cni-gc");
    let names = ["a", "b", "c"];
    let containers = names.map(|name| ground.container(name));
    names.iter().zip(&containers).for_each(|(name, netns)| drop(ground.add(name, netns)));
    ground.remove(&containers[2]);
    ground.wait_for_links(2);
    assert_eq!(ground.held(), 6);
    // The runtime has forgotten b, which runs.
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]});
    ground.call_with(Command::Gc, ("", ""), None, valid).unwrap();
    wait_for("c is free", PATIENCE, || ground.held() == 4).unwrap();
    ground.wait_for_links(2);
    reaches(&containers[0], &ground.node.netns(), ground.node.v4().into());
}

#[test]
fn many_at_once_are_gone_within_a_second() {
    let ground = Ground::new("cni-many");
    let containers: Vec<PathBuf> = (0..40).map(|n| ground.container(&format!("m{n}"))).collect();
    std::thread::scope(|scope| {
        for (n, netns) in containers.iter().enumerate() {
            let ground = &ground;
            scope.spawn(move || ground.add(&format!("m{n}"), netns));
        }
    });
    assert_eq!((ground.link_names().len(), ground.held()), (40, 80));
    std::thread::scope(|scope| {
        for n in 0..40 {
            let ground = &ground;
            scope.spawn(move || ground.call(Command::Del, (&format!("m{n}"), "eth0"), None).unwrap());
        }
    });
    let begun = Instant::now();
    ground.wait_for_links(0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    wait_for("all addresses", PATIENCE, || ground.held() == 0).unwrap();
}

#[test]
fn pods_of_the_network_before_keep_their_addresses_until_they_end() {
    let mut ground = Ground::new("cni-before");
    let file = ground.folder.join("networks/cbr0/10.244.1.2");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "4f0c\r\neth0").unwrap();
    ground.restart();
    let (one, two) = (ground.container("a"), ground.container("b"));
    let given = addresses(&ground.add("a", &one));
    assert_eq!(given[0], "10.244.1.3".parse::<IpAddr>().unwrap());
    // The runtime tells its end to the network that there is by then.
    ground.call(Command::Del, ("4f0c", "eth0"), None).unwrap();
    assert!(!file.exists());
    let wanted = json!({"runtimeConfig": {"ips": ["10.244.1.2"]}});
    let given = ground.call_with(Command::Add, ("b", "eth0"), Some(&two), wanted).unwrap().unwrap();
    assert_eq!(addresses(&given)[0], "10.244.1.2".parse::<IpAddr>().unwrap());
}

fn node_object(name: &str, addresses: &[&str], networks: &[&str]) -> NodeObject {
    NodeObject {
        name: ObjectName { namespace: "".into(), name: name.into() },
        labels: Default::default(),
        internal_ips: addresses.iter().map(|one| one.parse().unwrap()).collect(),
        pod_cidrs: networks.iter().map(|one| one.parse().unwrap()).collect(),
        flannel: None,
        network_unavailable: None,
    }
}

fn snapshot(nodes: &[NodeObject]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.nodes.insert(node.name.clone(), Arc::new(node.clone()));
    }
    snapshot
}

#[test]
fn ways_follow_the_nodes_and_come_back_when_taken_away() {
    let ground = Ground::new("cni-ways");
    let handle = ground.network.as_ref().unwrap().handle();
    let own = node_object("one", &["192.168.0.1", "fd01::1"], &["10.244.7.0/24"]);
    let near = node_object("near", &["192.168.0.2", "fd01::2"], &["10.244.2.0/24", "fd44:0:0:2::/64"]);
    let far = node_object("far", &["172.20.0.9"], &["10.244.3.0/24", "fd44:0:0:3::/64"]);
    ground.node.output("ip", &["route", "add", "172.20.0.0/16", "via", "192.168.0.254"]).unwrap();
    let told = |nodes: &[NodeObject]| handle.come(&Told::whole(&snapshot(nodes)));
    told(&[own.clone(), near.clone(), far.clone()]);
    let routes =
        || ground.node.output("ip", &["route"]).unwrap() + &ground.node.output("ip", &["-6", "route"]).unwrap();
    let all = [
        "10.244.2.0/24 via 192.168.0.2 dev eth0",
        "fd44:0:0:2::/64 via fd01::2 dev eth0",
        "10.244.3.0/24 via 10.244.3.0 dev bowline-vxlan",
        "fd44:0:0:3::/64 via fd44:0:0:3:: dev bowline-vxlan",
    ];
    let said = routes();
    assert!(all.iter().all(|one| said.contains(one)), "{said}");
    let fdb = ground.node.output("bridge", &["fdb", "show", "dev", "bowline-vxlan"]).unwrap();
    assert!(fdb.contains("dst 172.20.0.9"), "{fdb}");
    let settled = handle.settled();
    assert_eq!(settled.mtu, 1450);
    assert_eq!(settled.problems, [""; 0]);
    let pod = ground.container("a");
    let result = ground.add("a", &pod);
    assert_eq!(addresses(&result), ["10.244.7.2".parse::<IpAddr>().unwrap()], "its networks are the Node's");
    assert_eq!(result.interfaces[1].mtu, Some(1450));
    let links = ground.told.links.lock().unwrap().clone();
    let uplinks: Vec<&NodeLink> = links.iter().filter(|link| !link.to_pods).collect();
    assert_eq!(uplinks[0].masquerade, [Some(ground.node.v4().into()), Some(ground.node.v6().into())]);
    assert_eq!((uplinks.len(), links.len()), (1, 2));
    let inside = ground.told.inside.lock().unwrap().clone();
    assert!(inside.contains(&"10.244.3.0/24".parse().unwrap()) && inside.contains(&"192.168.0.2/32".parse().unwrap()));

    // What is as it should be is not written again: that would be news, for which it is looked at anew, and so on.
    let netns = File::open(ground.node.netns()).unwrap();
    let mut watch = bowline_net::inside(netns.as_fd(), || Watch::open().unwrap()).unwrap();
    wait_for("a quiet node", PATIENCE, || !watch.wait(Duration::from_secs(1))).unwrap();

    // Somebody takes them away.
    for args in [["route", "del", "10.244.2.0/24"], ["link", "del", "bowline-vxlan"], ["route", "del", "10.244.7.2"]] {
        ground.node.output("ip", &args).unwrap();
    }
    let begun = Instant::now();
    wait_for("all is back", PATIENCE, || {
        let said = routes();
        all.iter().all(|one| said.contains(one)) && said.contains("10.244.7.2 dev bow")
    })
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    // One of two far nodes goes.
    let farther = node_object("farther", &["172.20.0.10"], &["10.244.4.0/24"]);
    told(&[own.clone(), near.clone(), far.clone(), farther]);
    assert!(routes().contains("10.244.4.0/24 via 10.244.4.0 dev bowline-vxlan"), "{}", routes());
    told(&[own.clone(), near.clone(), far]);
    assert!(!routes().contains("10.244.4.0/24"), "{}", routes());

    // The far node goes: no tunnel is needed, and pods' packets may be longer.
    told(&[own, near]);
    let said = routes();
    assert!(all[..2].iter().all(|one| said.contains(one)) && !said.contains("bowline-vxlan"), "{said}");
    let pod_link =
        ground.node.output("ip", &["-n", pod.file_name().unwrap().to_str().unwrap(), "link", "show", "eth0"]);
    assert!(pod_link.unwrap().contains("mtu 1500"));
}
