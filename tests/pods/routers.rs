//! Three nodes: two share a link, the third is behind two routers, and the network between those takes smaller packets than the
//! nodes' links say. What the third has is reached by tunnels, whose packets are too large for it; so are those that leave
//! the cluster. What is sent is compared with what came.
//!
//! ```text
//! worker-1 ─┬─ 1500 ─ near ─ 1400 ─ far ─ 1500 ─ worker-3
//! worker-2 ─┘
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use bowline_lab::{Lab, Node, wait_for};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::common::run;
use crate::ground::{Container, PATIENCE, Site};

/// Between the routers.
const NARROW: u32 = 1400;

/// The two routers.
struct Routers {
    _near: Node,
    _far: Node,
}

fn ip(node: &Node, lines: &[String]) {
    for line in lines {
        let family = if line.contains("::") { "-6" } else { "-4" };
        let args: Vec<&str> = std::iter::once(family).chain(line.split(' ')).collect();
        node.output("ip", &args).unwrap();
    }
}

fn netns(node: &Node) -> String {
    node.netns().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Takes the third node from the others' link and puts it behind routers. It keeps its addresses.
fn put_behind(lab: &Lab, sites: [&Site; 3]) -> Routers {
    let (near, far) = (lab.node("near").unwrap(), lab.node("far").unwrap());
    let [one, two, three] = sites.map(|site| &*site.node);
    let (v4, v6) = (three.v4(), three.v6());
    for node in [three, &far] {
        ip(node, &["link del eth0".into()]);
    }
    ip(
        &near,
        &[
            format!("link add narrow mtu {NARROW} type veth peer name narrow mtu {NARROW} netns {}", netns(&far)),
            "addr add 10.99.0.1/24 dev narrow".into(),
            "addr add fd99::1/64 dev narrow nodad".into(),
            "link set narrow up".into(),
        ],
    );
    ip(
        &far,
        &[
            "addr add 10.99.0.2/24 dev narrow".into(),
            "addr add fd99::2/64 dev narrow nodad".into(),
            "link set narrow up".into(),
            format!("link add wide type veth peer name eth0 netns {}", netns(three)),
            "addr add 10.98.0.1/24 dev wide".into(),
            "addr add fd98::1/64 dev wide nodad".into(),
            "link set wide up".into(),
            format!("route add {v4} dev wide"),
            format!("route add {v6} dev wide"),
            "route add default via 10.99.0.1".into(),
            "route add default via fd99::1".into(),
        ],
    );
    ip(
        three,
        &[
            format!("addr add {v4}/32 dev eth0"),
            format!("addr add {v6}/128 dev eth0 nodad"),
            "link set eth0 up".into(),
            "route add 10.98.0.0/24 dev eth0".into(),
            "route add fd98::/64 dev eth0".into(),
            format!("route add default via 10.98.0.1 src {v4}"),
            format!("route add default via fd98::1 src {v6}"),
        ],
    );
    ip(&near, &[format!("route add {v4} via 10.99.0.2"), format!("route add {v6} via fd99::2")]);
    for node in [one, two] {
        ip(node, &[format!("route add {v4} via {}", near.v4()), format!("route add {v6} via {}", near.v6())]);
    }
    Routers { _near: near, _far: far }
}

/// Node objects; the families by which nodes know each other.
fn nodes(v4: bool) -> String {
    let node = |number: u8| {
        let v4 = if v4 { format!("{{type: InternalIP, address: 192.168.0.{number}}}, ") } else { String::new() };
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: worker-{number}}}\n\
             spec: {{podCIDRs: [10.244.{number}.0/24, 'fd44:0:0:{number}::/64']}}\n\
             status:\n  addresses: [{v4}{{type: InternalIP, address: 'fd01::{number}'}}]\n"
        )
    };
    [1, 2, 3].map(node).join("---\n")
}

/// A place where sockets are.
struct End {
    netns: File,
    addresses: Vec<IpAddr>,
}

impl End {
    fn pod(pod: &Container<'_>) -> End {
        End { netns: File::open(pod.netns()).unwrap(), addresses: pod.addresses.clone() }
    }

    fn node(site: &Site) -> End {
        let addresses = vec![site.node.v4().into(), site.node.v6().into()];
        End { netns: File::open(site.node.netns()).unwrap(), addresses }
    }

    fn address(&self, is_v4: bool) -> IpAddr {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == is_v4).unwrap()
    }

    fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(self.netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                what()
            });
            there.join().unwrap()
        })
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

/// Sends a megabyte each way. `to` is where the server is asked; it listens at `port` of its own address.
fn stream(client: &End, to: SocketAddr, server: &End, port: u16) {
    let at = server.address(to.is_ipv4());
    let listener = server.inside(|| TcpListener::bind((at, port)).unwrap());
    let near =
        client.inside(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap_or_else(|error| panic!("{to}: {error}"));
    let far = listener.accept().unwrap().0;
    let sent = pattern(1 << 20);
    for (mut from, mut into) in [(&near, &far), (&far, &near)] {
        into.set_read_timeout(Some(PATIENCE)).unwrap();
        from.set_write_timeout(Some(PATIENCE)).unwrap();
        let came = thread::scope(|scope| {
            scope.spawn(|| from.write_all(&sent).unwrap());
            let mut came = vec![0; sent.len()];
            into.read_exact(&mut came).unwrap_or_else(|error| panic!("{to}: {error}"));
            came
        });
        assert!(came == sent, "{to}: what came is not what was sent");
    }
}

/// Sends datagrams of all sizes there and back. The first of a size may be what a router learns by, so each is sent until it
/// has its answer; one that the sender itself is told to be too large is in pieces the next time.
fn datagrams(client: &End, to: SocketAddr, server: &End, port: u16) {
    let is_v4 = to.is_ipv4();
    let bound = |end: &End, at: IpAddr, port: u16| {
        let socket = end.inside(|| UdpSocket::bind((at, port)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket
    };
    // From the address that the routes say.
    let any: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (near, far) = (bound(client, any, 0), bound(server, server.address(is_v4), port));
    let mut room = vec![0; 65536];
    for size in [100, 1300, 1372, 1400, 1422, 1472, 3000, 20_000] {
        let sent = pattern(size);
        let mut turns = 0;
        let came = |socket: &UdpSocket, room: &mut [u8]| loop {
            match socket.recv_from(room) {
                // What came late of a turn before.
                Ok((length, _)) if length != size => {}
                Ok((length, from)) => {
                    assert!(room[..length] == *sent, "{to}: {size} bytes came as others");
                    return Some(from);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("{to}: {error}"),
            }
        };
        wait_for(&format!("{size} bytes to {to} and back"), PATIENCE, || {
            turns += 1;
            match near.send_to(&sent, to) {
                Err(error) if error.raw_os_error() == Some(90) => return false,
                sent => sent.unwrap(),
            };
            let Some(from) = came(&far, &mut room) else { return false };
            match far.send_to(&sent, from) {
                Err(error) if error.raw_os_error() == Some(90) => return false,
                sent => sent.unwrap(),
            };
            came(&near, &mut room) == Some(to)
        })
        .unwrap();
        assert!(turns <= 5, "{size} bytes to {to} took {turns} turns");
    }
}

fn both(client: &End, server: &End) {
    for at in &server.addresses {
        stream(client, SocketAddr::new(*at, 7000), server, 7000);
        datagrams(client, SocketAddr::new(*at, 7001), server, 7001);
    }
}

fn three_nodes(tag: &str, v4: bool, flags: &[&str]) {
    let lab = Lab::new(tag).unwrap();
    let mut sites = ["worker-1", "worker-2", "worker-3"].map(|name| Site::new(&lab, name, flags));
    let [one, two, three] = &sites;
    let _routers = put_behind(&lab, [one, two, three]);
    let folder = lab.folder("state").unwrap();
    fs::write(folder.join("nodes.yaml"), nodes(v4)).unwrap();
    for site in &mut sites {
        site.agent.state(&format!("files:{}", folder.display()));
        site.agent.start();
    }
    let [one, two, three] = &sites;
    let ports = serde_json::json!({"runtimeConfig": {"portMappings": [
        {"HostPort": 8888, "ContainerPort": 7000, "Protocol": "tcp", "HostIP": ""},
        {"HostPort": 8889, "ContainerPort": 7001, "Protocol": "udp", "HostIP": ""},
    ]}});
    let pods = [one.container("a"), two.container("b"), three.container_with("c", &ports)];
    // One is on the link, the other by a tunnel, at once.
    let routes = |site: &Site| run(site.node.in_netns(env!("CARGO_BIN_EXE_bowline")).args(["get", "routes"])).ok();
    for (site, near) in [(one, Some(two)), (two, Some(one)), (three, None)] {
        let (mut said, near) =
            (String::new(), near.map(|near| [near.node.v4().to_string(), near.node.v6().to_string()]));
        let waited = wait_for("ways to both of the others", PATIENCE, || {
            said = routes(site);
            let direct: Vec<&str> = said.lines().filter(|line| line.contains("direct")).collect();
            let tunnels = said.lines().filter(|line| line.contains("vxlan")).count();
            let is_near = |line: &&str| near.iter().flatten().any(|address| line.contains(address));
            let wanted = if near.is_none() {
                (0, 4)
            } else if v4 {
                (2, 2)
            } else {
                (1, 3)
            };
            (direct.len(), tunnels) == wanted && direct.iter().all(is_near)
        });
        assert!(waited.is_ok(), "{said}\n{}", site.agent.log());
    }
    let [a, b, c] = pods.each_ref().map(End::pod);
    both(&a, &b);
    // By tunnels whose packets are too large for the way.
    both(&a, &c);
    both(&c, &b);
    // Nodes' own packets, which the tunnels take as well; and a node behind routers sees the node's address.
    let [n1, n3] = [End::node(one), End::node(three)];
    both(&n1, &c);
    both(&a, &n3);
    both(&c, &n1);
    // By a port of the node: what the pod answers is too large for the way, and it's told so in its own words.
    for client in [&b, &n1] {
        for at in &n3.addresses {
            stream(client, SocketAddr::new(*at, 8888), &c, 7000);
            datagrams(client, SocketAddr::new(*at, 8889), &c, 7001);
        }
    }
    // A node that is gone is no longer on the way of anything.
    let remain = nodes(v4).split("---\n").take(2).collect::<Vec<_>>().join("---\n");
    fs::write(folder.join("nodes.yaml"), remain).unwrap();
    let is_gone = || !routes(one).contains(":3::/64") && !routes(one).contains("10.244.3.0");
    wait_for("no way to the node that is gone", PATIENCE, is_gone).unwrap();
}

#[test]
fn three_nodes_and_a_narrow_network_between_them() {
    three_nodes("pods-routers", true, &[]);
}

/// Tunnels over IPv6, whose packets no router cuts.
#[test]
fn three_nodes_that_know_each_other_by_ipv6_alone() {
    three_nodes("pods-routers6", false, &[]);
}
