//! Pods of several nodes: what they reach, and how the others hear of them.

use std::fs;
use std::net::SocketAddr;

use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};
use bowline_lab::{Lab, wait_for};

use crate::common::{bowline_in, run};
use crate::ground::{Container, PATIENCE, Site};

/// Two nodes, a Service, and a Pod of its that has no address yet.
const EXAMPLE: &str = include_str!("../../examples/pods/web.yaml");
const VIP: &str = "10.96.0.80:80";

/// The example's objects of these kinds.
fn objects(kinds: &[&str]) -> String {
    let is_of = |text: &&str| kinds.iter().any(|kind| text.contains(&format!("kind: {kind}\n")));
    EXAMPLE.split("---\n").filter(is_of).collect::<Vec<_>>().join("---\n")
}

/// Whatever the way between the nodes, and the state.
fn pods_reach_each_other(one: &Site, two: &Site, link: &str) {
    let (web, client) = (two.container("web-1"), one.container("client"));
    let _serves = web.serve("web-1", 8080);
    assert_eq!((web.addresses.len(), client.addresses.len()), (2, 2));
    for address in &web.addresses {
        client.wait_for(SocketAddr::new(*address, 8080), "web-1");
        assert_eq!(crate::common::tcp1(&one.node, SocketAddr::new(*address, 8080)), "web-1", "from the other node");
        assert_eq!(crate::common::tcp1(&two.node, SocketAddr::new(*address, 8080)), "web-1", "from its node");
        assert_eq!(client.ask_udp(SocketAddr::new(*address, 8080)), "web-1");
    }
    // Its node, another node, and from nodes.
    let _node = two.node.serve("node", &[two.node.address(7000), two.node.address6(7000)], &[]).unwrap();
    client.wait_for(two.node.address(7000), "node");
    client.wait_for(two.node.address6(7000), "node");
    let asked = web.ask(two.node.address(7000));
    assert_eq!(asked, "node");
    // By the selector of a Service, everywhere: its labels are written, its addresses are told.
    client.wait_for(VIP.parse().unwrap(), "web-1");
    web.wait_for(VIP.parse().unwrap(), "web-1");
    let mut get = one.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
    let routes = run(get.args(["get", "routes"])).ok();
    assert!(routes.lines().filter(|line| line.contains(link)).count() >= 2, "{routes}");
    web.del();
    // The refusal of a Service without an endpoint.
    client.wait_for(VIP.parse().unwrap(), "ECONNREFUSED");
    client.del();
    for site in [one, two] {
        wait_for("no wires", PATIENCE, || site.wires() == 0 && site.held().is_empty()).unwrap();
    }
}

fn clean(site: &mut Site) {
    site.agent.stop();
    let state = site.folder.join("state");
    let mut cleanup = site.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
    cleanup.arg("cleanup").arg("--cni-state-dir").arg(&state);
    cleanup.arg("--cgroup-root").arg(site.node.cgroup()).arg("--bpf-root").arg(site.node.bpf_root());
    let said = run(&mut cleanup).ok();
    assert!(said.contains("05-bowline.conflist") && said.contains("bin/bowline-cni"), "{said}");
    assert!(!state.exists());
    assert_eq!(fs::read_dir(site.folder.join("net.d")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(site.folder.join("bin")).unwrap().count(), 0);
    let routes = site.node.output("ip", &["route"]).unwrap();
    assert!(
        !routes.contains("10.244.") && !site.node.output("ip", &["link"]).unwrap().contains("bowline-vxlan"),
        "{routes}"
    );
    let again = bowline_in(&site.node, &["cleanup", "--cni-state-dir", state.to_str().unwrap()]).ok();
    assert!(again.contains("nothing was installed"), "{again}");
}

fn two_nodes_by_a_folder(tag: &str, flags: &[&str], link: &str) {
    let lab = Lab::new(tag).unwrap();
    let (mut one, mut two) = (Site::new(&lab, "worker-1", flags), Site::new(&lab, "worker-2", flags));
    let folder = lab.folder("state").unwrap();
    fs::write(folder.join("web.yaml"), EXAMPLE).unwrap();
    for site in [&mut one, &mut two] {
        site.agent.state(&format!("files:{}", folder.display()));
        site.agent.start();
    }
    pods_reach_each_other(&one, &two, link);
    let told = fs::read_to_string(folder.join("status/worker-2.yaml")).unwrap();
    assert!(told.starts_with("# Pods of the node worker-2") && !told.contains("web-1"), "{told}");
    clean(&mut one);
    clean(&mut two);
}

#[test]
fn by_routes_where_nodes_share_a_link() {
    two_nodes_by_a_folder("pods-routes", &[], "direct");
}

#[test]
fn by_tunnels_where_they_are_behind_routers() {
    two_nodes_by_a_folder("pods-tunnels", &["--tunnel", "always"], "vxlan");
}

#[test]
fn nodes_that_have_an_etcd_and_nothing_else() {
    let lab = Lab::new("pods-etcd").unwrap();
    let (mut one, mut two) = (Site::new(&lab, "worker-1", &[]), Site::new(&lab, "worker-2", &[]));
    let etcd = Etcd::start(&Place::host(&lab, &one.node).unwrap(), &EtcdOptions::default()).unwrap();
    let state = format!("etcd:{}", etcd.urls().join(","));
    let file = lab.folder("manifests").unwrap().join("web.yaml");
    fs::write(&file, objects(&["Service", "Pod"])).unwrap();
    let bowline = |args: &[&str]| {
        let mut command = one.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
        run(command.args(args).args(["--state", &state])).ok()
    };
    bowline(&["apply", "-f", file.to_str().unwrap()]);
    for site in [&mut one, &mut two] {
        site.agent.state(&state);
        site.agent.start();
    }
    pods_reach_each_other(&one, &two, "direct");
}

/// A port of the node leads to a pod: from another node, from pods, the pod itself, and the node, also by its loopback.
#[test]
fn ports_of_the_node() {
    let lab = Lab::new("pods-ports").unwrap();
    let (mut one, mut two) = (Site::new(&lab, "worker-1", &[]), Site::new(&lab, "worker-2", &[]));
    let folder = lab.folder("state").unwrap();
    fs::write(folder.join("nodes.yaml"), objects(&["Node"])).unwrap();
    for site in [&mut one, &mut two] {
        site.agent.state(&format!("files:{}", folder.display()));
        site.agent.start();
    }
    // As containerd's library spells it.
    let ports = |list: serde_json::Value| serde_json::json!({"runtimeConfig": {"portMappings": list}});
    let both = ports(serde_json::json!([
        {"HostPort": 8888, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""},
        {"HostPort": 8888, "ContainerPort": 8080, "Protocol": "udp", "HostIP": ""},
        {"HostPort": 9999, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": "127.0.0.1"},
    ]));
    let web = two.container_with("web-1", &both);
    let serves = web.serve("web-1", 8080);
    let (near, far) = (two.container("near"), one.container("far"));
    let at = [two.node.address(8888), two.node.address6(8888)];
    for to in at {
        for from in [&near, &far, &web] {
            from.wait_for(to, "web-1");
            assert_eq!(from.ask_udp(to), "web-1", "{to}");
        }
        assert_eq!(crate::common::tcp1(&one.node, to), "web-1");
        assert_eq!(crate::common::udp1(&one.node, to), "web-1");
        assert_eq!(crate::common::tcp1(&two.node, to), "web-1");
        assert_eq!(crate::common::udp1(&two.node, to), "web-1");
    }
    for to in ["127.0.0.1:8888", "[::1]:8888", "127.0.0.1:9999"] {
        assert_eq!(crate::common::tcp1(&two.node, to.parse().unwrap()), "web-1", "{to}");
    }
    assert_eq!(crate::common::udp1(&two.node, "127.0.0.1:8888".parse().unwrap()), "web-1");
    // A pod's loopback is its own, and so is that of another node.
    assert_eq!(near.ask("127.0.0.1:8888".parse().unwrap()), "ECONNREFUSED");
    assert_eq!(crate::common::tcp1(&one.node, "127.0.0.1:8888".parse().unwrap()), "ECONNREFUSED");
    // It is taken.
    let second = Container::new(&two, "second");
    let mut config = two.config();
    config["runtimeConfig"] = both["runtimeConfig"].clone();
    let refused = two.call("ADD", &second.id, &second.netns(), "", &config).unwrap_err();
    assert!(refused["msg"].as_str().unwrap().contains("8888"), "{refused}");
    // That of the loopback too, which no packet comes to.
    config["runtimeConfig"]["portMappings"] = serde_json::json!([both["runtimeConfig"]["portMappings"][2]]);
    let refused = two.call("ADD", &second.id, &second.netns(), "", &config).unwrap_err();
    assert!(refused["msg"].as_str().unwrap().contains("9999"), "{refused}");
    assert_eq!(crate::common::tcp1(&two.node, "127.0.0.1:9999".parse().unwrap()), "web-1");

    // The next one has the port at once, UDP flows too.
    web.del();
    drop(serves);
    drop(web);
    let next = two.container_with("web-2", &both);
    let _serves = next.serve("web-2", 8080);
    for to in at {
        assert_eq!(crate::common::udp1(&one.node, to), "web-2");
        assert_eq!(far.ask_udp(to), "web-2");
        assert_eq!(near.ask(to), "web-2");
    }
    // An agent that starts anew finds them as they are.
    let pid = two.agent.pid();
    run(std::process::Command::new("kill").args(["-9", &pid.to_string()])).ok();
    for to in at {
        assert_eq!(crate::common::tcp1(&one.node, to), "web-2");
        assert_eq!(crate::common::tcp1(&two.node, to), "web-2");
    }
}

#[test]
fn bandwidth_is_what_was_asked_for() {
    let lab = Lab::new("pods-bandwidth").unwrap();
    let mut site = Site::new(&lab, "one", &["--pod-cidr", "10.244.1.0/24"]);
    site.agent.start();
    // As containerd's library spells it; a burst below a packet is made as large as one.
    let limits = serde_json::json!({"runtimeConfig": {"bandwidth":
        {"IngressRate": 80_000_000, "IngressBurst": 8_000, "EgressRate": 16_000_000_000_u64, "EgressBurst": 80_000_000}}});
    let pod = site.container_with("slow", &limits);
    let link = pod.result["interfaces"][0]["name"].as_str().unwrap();
    let said = site.node.output("tc", &["qdisc", "show", "dev", link]).unwrap();
    assert!(said.contains("tbf") && said.contains("rate 80Mbit") && said.contains("burst 64K"), "{said}");
    let mut shown = pod.command("tc");
    let said = run(shown.args(["qdisc", "show", "dev", "eth0"])).ok();
    assert!(said.contains("tbf") && said.contains("rate 16Gbit") && said.contains("burst 10000000b"), "{said}");
    // Several megabytes to the pod take their time, and arrive: from the node, and from another pod.
    let other = site.container("other");
    let address = std::net::SocketAddr::new(pod.addresses[0], 9000);
    let into = fs::File::open(pod.netns()).unwrap();
    let listener = in_netns(&into, move || std::net::TcpListener::bind(address).unwrap());
    for from in [site.node.netns(), other.netns().into()] {
        let listener = listener.try_clone().unwrap();
        let reads = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        });
        let begun = std::time::Instant::now();
        let from = fs::File::open(from).unwrap();
        let mut stream = in_netns(&from, move || std::net::TcpStream::connect(address).unwrap());
        std::io::Write::write_all(&mut stream, &vec![7; 5_000_000]).unwrap();
        drop(stream);
        assert_eq!(reads.join().unwrap(), 5_000_000);
        // 40 Mbit at 80 Mbit/s.
        assert!(begun.elapsed().as_millis() > 350, "{:?}", begun.elapsed());
    }
}

/// On a thread in a network namespace.
pub(crate) fn in_netns<T: Send + 'static>(netns: &fs::File, work: impl FnOnce() -> T + Send + 'static) -> T {
    let netns = netns.try_clone().unwrap();
    let inside = std::thread::spawn(move || {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), Some(kind)).unwrap();
        work()
    });
    inside.join().unwrap()
}
