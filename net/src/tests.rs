//! In a network namespace of its own, against what `ip` says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::fd::AsFd as _;

use bowline_lab::Lab;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;

/// EEXIST, ENODEV and EOPNOTSUPP.
const EXISTS: i32 = 17;
const GONE: i32 = 19;
const NOT_SUPPORTED: i32 = 95;

#[test]
fn interfaces_come_get_addresses_and_go() {
    let lab = Lab::new("net").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let ip = |args: &[&str]| node.output("ip", args).unwrap();
    let net = Net::open_in(netns.as_fd()).unwrap();
    assert_eq!(net.link("lo").unwrap().map(|link| link.index), Some(1));
    for (name, kind) in [("dummy7", Kind::Dummy), ("bridge7", Kind::Bridge)] {
        assert_eq!(net.link(name).unwrap(), None);
        if let Err(error) = net.add(name, kind) {
            // Some kernels have no dummies.
            assert_eq!((error.errno(), kind), (Some(NOT_SUPPORTED), Kind::Dummy), "{error}");
            continue;
        }
        assert_eq!(net.add(name, kind).unwrap_err().errno(), Some(EXISTS));
        let link = net.link(name).unwrap().unwrap();
        net.set_up(link.index, "ours").unwrap();
        net.set_up(link.index, "").unwrap();
        // Twice: one that is there stays.
        for _ in 0..2 {
            for address in ["169.254.20.10", "fd00::a"] {
                net.add_address(link.index, address.parse().unwrap()).unwrap();
            }
        }
        let said = ip(&["-d", "addr", "show", "dev", name]);
        for part in ["inet 169.254.20.10/32 ", "inet6 fd00::a/128 ", "nodad", "alias ours", ",UP"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(net.link(name).unwrap().unwrap().alias, "ours");
        net.remove(link.index).unwrap();
        assert_eq!(net.remove(link.index).unwrap_err().errno(), Some(GONE));
        assert_eq!(net.link(name).unwrap(), None);
    }
}

/// More interfaces than one message of the kernel holds.
#[test]
fn many_interfaces_are_listed() {
    let lab = Lab::new("net-many").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let net = Net::open_in(netns.as_fd()).unwrap();
    (0..200).for_each(|n| net.add(&format!("many{n}"), Kind::Bridge).unwrap());
    let links = net.links().unwrap();
    assert!((0..200).all(|n| links.iter().any(|link| link.name == format!("many{n}"))));
}

fn ip_of(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Words of `text` in one of its lines.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn a_pair_between_two_namespaces_with_neighbours_and_routes() {
    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 2];
    let lab = Lab::new("net-veth").unwrap();
    let (one, two) = (lab.node("one").unwrap(), lab.node("two").unwrap());
    let (here, there) = (File::open(one.netns()).unwrap(), File::open(two.netns()).unwrap());
    let (net, other) = (Net::open_in(here.as_fd()).unwrap(), Net::open_in(there.as_fd()).unwrap());
    assert!(!is_same(here.as_fd(), there.as_fd()).unwrap());
    let netns = there.as_fd();
    let veth = Veth { name: "bow1", mac: OURS, alias: "of a pod", peer: "eth7", peer_mac: THEIRS, netns, mtu: 1400 };
    net.add_veth(&veth).unwrap();
    assert_eq!(net.add_veth(&veth).unwrap_err().errno(), Some(EEXIST));
    let (host, pod) = (net.link("bow1").unwrap().unwrap(), other.link("eth7").unwrap().unwrap());
    assert_eq!((host.mac, host.mtu, host.alias.as_str(), host.is_up), (Some(OURS), 1400, "of a pod", true));
    assert_eq!((pod.mac, pod.mtu, pod.kind.as_str(), pod.is_up), (Some(THEIRS), 1400, "veth", false));
    assert!(!host.is_running);

    let (v4, v6) = (ip_of("10.77.0.5"), ip_of("fd77::5"));
    other.set_up(pod.index, "").unwrap();
    other.add_addresses(pod.index, &[v4, v6]).unwrap();
    other.add_addresses(pod.index, &[v4, v6]).unwrap();
    assert_eq!(other.addresses(pod.index).unwrap(), [(v4, 32), (v6, 128)]);
    let gateway = ip_of("169.254.1.1");
    let gateway6 = ip_of("fe80::1");
    for _ in 0..2 {
        other
            .put_neighbours(&[gateway, gateway6].map(|address| Neighbour { device: pod.index, address, mac: OURS }))
            .unwrap();
        let all = ["0.0.0.0/0", "::/0"].map(|all| all.parse().unwrap());
        let gateways = [Route::on(pod.index, gateway.into()), Route::on(pod.index, all[0]).via(gateway)];
        other.put_routes(&gateways).unwrap();
        other.put_routes(&[Route::on(pod.index, all[1]).via(gateway6)]).unwrap();
    }
    let mut known = other.neighbours(pod.index).unwrap();
    known.sort();
    assert_eq!(known, [gateway, gateway6].map(|address| Neighbour { device: pod.index, address, mac: OURS }));
    let said = two.output("ip", &["route"]).unwrap();
    assert!(has_line(&said, &["default via 169.254.1.1 dev eth7", "onlink"]), "{said}");
    assert!(has_line(&said, &["169.254.1.1 dev eth7", "scope link"]), "{said}");
    let said = two.output("ip", &["-6", "route"]).unwrap();
    assert!(has_line(&said, &["default via fe80::1 dev eth7"]), "{said}");

    // The way back, and packets.
    let back = [v4, v6].map(|address| Route::on(host.index, address.into()));
    net.put_routes(&back).unwrap();
    net.put_neighbours(&[v4, v6].map(|address| Neighbour { device: host.index, address, mac: THEIRS })).unwrap();
    assert!(net.link("bow1").unwrap().unwrap().is_running);
    for address in [v4, v6] {
        let listener = inside(there.as_fd(), || TcpListener::bind((address, 7)).unwrap()).unwrap();
        inside(here.as_fd(), || TcpStream::connect((address, 7)).unwrap()).unwrap();
        listener.accept().unwrap();
    }
    let way = net.way_to(v4).unwrap().unwrap();
    assert_eq!((way.device, way.via, way.is_local), (host.index, None, false));
    assert!(net.way_to(ip_of("192.168.0.1")).unwrap().unwrap().is_local);
    assert_eq!(net.way_to(ip_of("198.51.100.1")).unwrap(), None);
    let ours: Vec<Route> = net.routes().unwrap().into_iter().filter(|route| route.protocol == BOWLINE).collect();
    assert_eq!(ours, back);
    for route in &back {
        assert!(net.remove_route(route).unwrap());
        assert!(!net.remove_route(route).unwrap());
    }
    net.set_mtu(host.index, 1300).unwrap();
    assert_eq!(net.link("bow1").unwrap().unwrap().mtu, 1300);
    net.remove(host.index).unwrap();
    assert_eq!(other.link("eth7").unwrap(), None);
}

#[test]
fn tunnels_are_told_where_their_ends_are() {
    const MAC: Mac = [2, 0, 0, 0, 1, 1];
    let lab = Lab::new("net-vxlan").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let net = Net::open_in(netns.as_fd()).unwrap();
    let uplink = net.link("eth0").unwrap().unwrap();
    let vxlan = Vxlan {
        name: "bowline.vx",
        mac: MAC,
        alias: "tunnels",
        id: 1,
        port: 8472,
        device: uplink.index,
        local: node.v4().into(),
        mtu: uplink.mtu - 50,
    };
    net.add_vxlan(&vxlan).unwrap();
    let link = net.link("bowline.vx").unwrap().unwrap();
    assert_eq!((link.mac, link.mtu, link.kind.as_str()), (Some(MAC), 1450, "vxlan"));
    assert_eq!((link.vxlan, uplink.vxlan), (Some((1, 8472)), None));
    net.set_up(link.index, "").unwrap();
    let said = node.output("ip", &["-d", "link", "show", "dev", "bowline.vx"]).unwrap();
    for words in ["vxlan id 1 local 192.168.0.1 dev eth0", "dstport 8472", "nolearning"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let device = link.index;
    let forwards = [([2, 0, 0, 0, 1, 2], "192.168.0.2"), ([2, 0, 0, 0, 1, 3], "192.168.0.3")]
        .map(|(mac, to)| Forward { device, mac, to: ip_of(to) });
    for _ in 0..2 {
        net.put_forwards(&forwards).unwrap();
    }
    let mut told = net.forwards(device).unwrap();
    told.sort();
    assert_eq!(told, forwards);
    assert!(net.remove_forward(&forwards[0]).unwrap());
    assert!(!net.remove_forward(&forwards[0]).unwrap());
    assert_eq!(net.forwards(device).unwrap(), forwards[1..]);
}

#[test]
fn a_host_answers_for_others() {
    let lab = Lab::new("net-proxy").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let net = Net::open_in(netns.as_fd()).unwrap();
    net.add("br7", Kind::Bridge).unwrap();
    let device = net.link("br7").unwrap().unwrap().index;
    let proxies = ["10.9.0.1", "fd09::1"].map(|one| Proxy { device, address: ip_of(one) });
    for proxy in proxies.iter().chain(&proxies) {
        net.put_proxy(proxy).unwrap();
    }
    assert_eq!(net.proxies(device).unwrap(), proxies);
    let said = node.output("ip", &["neigh", "show", "proxy"]).unwrap();
    assert!(said.contains("10.9.0.1 dev br7"), "{said}");
    assert!(net.remove_proxy(&proxies[0]).unwrap());
    assert!(!net.remove_proxy(&proxies[0]).unwrap());
    assert_eq!((net.proxies(device).unwrap(), net.neighbours(device).unwrap()), (proxies[1..].to_vec(), Vec::new()));
}

#[test]
fn a_change_is_heard_of() {
    let lab = Lab::new("net-watch").unwrap();
    let node = lab.node("one").unwrap();
    let netns = File::open(node.netns()).unwrap();
    let mut watch = inside(netns.as_fd(), || Watch::open().unwrap()).unwrap();
    // What making the node has still to tell.
    while watch.wait(Duration::from_millis(200)) {}
    node.output("ip", &["link", "add", "br7", "type", "bridge"]).unwrap();
    assert!(watch.wait(Duration::from_secs(30)));
    while watch.wait(Duration::from_millis(200)) {}
    node.output("ip", &["route", "add", "10.9.0.0/16", "dev", "eth0"]).unwrap();
    assert!(watch.wait(Duration::from_secs(30)));
}
