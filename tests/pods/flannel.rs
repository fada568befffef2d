//! Nodes that move from flannel, one after the other: connections of pods that run go on, and whoever has moved and whoever has
//! not reach each other. What flannel makes on a node is made by hand here, as its source (v0.28) and a look at the real one say.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bowline_lab::{Lab, Process, wait_for};

use crate::common::{Agent, run};
use crate::ground::{Container, PATIENCE, Site};
use crate::nodes::in_netns;

const NET_CONF: &str = r#"{
  "Network": "10.244.0.0/16",
  "EnableIPv6": true,
  "IPv6Network": "fd44::/48",
  "Backend": {"Type": "vxlan"}
}"#;
const PORT: u16 = 8080;

/// A node of flannel's: the last number of its addresses, and of its pods' networks.
struct Flannel<'a> {
    site: &'a Site,
    number: u8,
}

impl Flannel<'_> {
    fn mac(&self, is_v4: bool) -> String {
        format!("5e:00:00:00:0{}:0{}", if is_v4 { 4 } else { 6 }, self.number)
    }

    /// Its Node object, with what flannel's daemon has written there.
    fn manifest(&self) -> String {
        let (name, n, node) = (self.site.node.name(), self.number, &self.site.node);
        let data = |is_v4| format!(r#"'{{"VNI":1,"VtepMAC":"{}"}}'"#, self.mac(is_v4));
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  annotations:\n    \
             flannel.alpha.coreos.com/kube-subnet-manager: 'true'\n    flannel.alpha.coreos.com/backend-type: vxlan\n    \
             flannel.alpha.coreos.com/backend-data: {}\n    flannel.alpha.coreos.com/backend-v6-data: {}\n    \
             flannel.alpha.coreos.com/public-ip: {v4}\n    flannel.alpha.coreos.com/public-ipv6: '{v6}'\nspec: {{podCIDRs: \
             [10.244.{n}.0/24, 'fd44:0:0:{n}::/64']}}\nstatus: {{addresses: [{{type: InternalIP, address: {v4}}}, {{type: \
             InternalIP, address: '{v6}'}}]}}\n",
            data(true),
            data(false),
            v4 = node.v4(),
            v6 = node.v6(),
        )
    }

    fn ip(&self, words: &str) {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.site.node.output("ip", &words).unwrap();
    }

    /// The interface to the other nodes.
    fn uplink(&self) -> String {
        let said =
            self.site.node.output("ip", &["-o", "addr", "show", "to", &self.site.node.v4().to_string()]).unwrap();
        said.split_whitespace().nth(1).unwrap().split('@').next().unwrap().to_owned()
    }

    /// What its daemon makes.
    fn daemon(&self, peer: &Flannel<'_>) {
        let (n, uplink) = (self.number, self.uplink());
        for (is_v4, link) in [(true, "flannel.1"), (false, "flannel-v6.1")] {
            let local: IpAddr = if is_v4 { self.site.node.v4().into() } else { self.site.node.v6().into() };
            let mac = self.mac(is_v4);
            self.ip(&format!(
                "link add {link} address {mac} type vxlan id 1 dev {uplink} local {local} dstport 8472 nolearning"
            ));
            let own = if is_v4 { format!("10.244.{n}.0/32") } else { format!("fd44:0:0:{n}::/128") };
            self.ip(&format!("addr add {own} dev {link} nodad"));
            self.ip(&format!("link set {link} up"));
        }
        self.routes(peer);
    }

    /// And when it hears of another node.
    fn routes(&self, peer: &Flannel<'_>) {
        let p = peer.number;
        for (is_v4, link) in [(true, "flannel.1"), (false, "flannel-v6.1")] {
            let (network, next, to) = if is_v4 {
                (format!("10.244.{p}.0/24"), format!("10.244.{p}.0"), peer.site.node.v4().to_string())
            } else {
                (format!("fd44:0:0:{p}::/64"), format!("fd44:0:0:{p}::"), peer.site.node.v6().to_string())
            };
            let mac = peer.mac(is_v4);
            self.ip(&format!("neigh replace {next} lladdr {mac} nud permanent dev {link}"));
            self.site.node.output("bridge", &["fdb", "replace", &mac, "dev", link, "dst", &to, "self"]).unwrap();
            self.ip(&format!("route replace {network} via {next} dev {link} onlink"));
        }
    }

    /// A pod as its plugin attaches one, by the reference plugin's bridge.
    fn pod(&self, name: &str) -> Container<'_> {
        let (n, site) = (self.number, self.site);
        if !site.node.output("ip", &["-o", "link"]).unwrap().contains("cni0") {
            self.ip("link add cni0 type bridge");
            self.ip(&format!("addr add 10.244.{n}.1/24 dev cni0"));
            self.ip(&format!("addr add fd44:0:0:{n}::1/64 dev cni0 nodad"));
            self.ip("link set cni0 up");
            site.node.output("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]).unwrap();
        }
        let mut pod = Container::new(site, name);
        self.ip(&format!("link add {name} type veth peer name eth0 netns {}", pod.netns()));
        self.ip(&format!("link set {name} master cni0 up"));
        let inside = [
            "link set lo up".to_owned(),
            "link set eth0 up".into(),
            format!("addr add 10.244.{n}.100/24 dev eth0"),
            format!("addr add fd44:0:0:{n}::100/64 dev eth0 nodad"),
            format!("route add default via 10.244.{n}.1"),
            format!("route add default via fd44:0:0:{n}::1"),
        ];
        for words in inside {
            run(pod.command("ip").args(words.split_whitespace())).ok();
        }
        pod.addresses =
            [format!("10.244.{n}.100"), format!("fd44:0:0:{n}::100")].map(|one| one.parse().unwrap()).to_vec();
        pod
    }
}

/// A connection between two pods that were there before.
struct Lasting(TcpStream, TcpStream);

impl Lasting {
    fn new(from: &Container<'_>, to: &Container<'_>, address: IpAddr) -> Lasting {
        let netns = |pod: &Container<'_>| fs::File::open(pod.netns()).unwrap();
        let listener = in_netns(&netns(to), move || TcpListener::bind((address, 0)).unwrap());
        let at = listener.local_addr().unwrap();
        let client = in_netns(&netns(from), move || TcpStream::connect(at).unwrap());
        let lasting = Lasting(client, listener.accept().unwrap().0);
        lasting.0.set_read_timeout(Some(PATIENCE)).unwrap();
        lasting.1.set_read_timeout(Some(PATIENCE)).unwrap();
        lasting
    }

    #[track_caller]
    fn goes_on(&mut self, when: &str) {
        let mut byte = [0];
        self.0.write_all(b"?").unwrap();
        self.1.read_exact(&mut byte).unwrap_or_else(|error| panic!("{when}: {error}"));
        self.1.write_all(b"!").unwrap();
        self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{when}: {error}"));
    }
}

/// All of them reach all of them, and so do the nodes.
#[track_caller]
fn reach(pods: &[(&str, &Container<'_>)], sites: [&Site; 2], when: &str) {
    for (name, to) in pods {
        for address in &to.addresses {
            let to = SocketAddr::new(*address, PORT);
            for (other, from) in pods.iter().filter(|(other, _)| other != name) {
                let mut last = String::new();
                let asked = wait_for("an answer", Duration::from_secs(10), || {
                    last = from.ask(to);
                    last == *name
                });
                assert!(asked.is_ok(), "{when}: {other} asks {name} at {to}: {last}");
            }
            for site in sites {
                assert_eq!(crate::common::tcp1(&site.node, to), *name, "{when}: {} asks {to}", site.node.name());
            }
        }
    }
}

fn served<'a>(site: &'a Site, name: &str) -> (Container<'a>, Process) {
    let pod = site.container(name);
    let process = pod.serve(name, PORT);
    (pod, process)
}

/// The agent apart from its site, whose containers outlast it.
fn apart(lab: &Lab, site: &mut Site, state: &str) -> Agent {
    let stand_in = Agent::new(lab, &site.node);
    let mut agent = std::mem::replace(&mut site.agent, stand_in);
    agent.state(state);
    agent
}

#[test]
fn nodes_move_one_after_the_other_and_back() {
    let lab = Lab::new("pods-flannel").unwrap();
    let folder = lab.folder("state").unwrap();
    let net_conf = lab.folder("flannel").unwrap().join("net-conf.json");
    fs::write(&net_conf, NET_CONF).unwrap();
    let flag = format!("--flannel-net-conf={}", net_conf.display());
    let (mut one, mut two) = (Site::new(&lab, "worker-1", &[&flag]), Site::new(&lab, "worker-2", &[&flag]));
    let state = format!("files:{}", folder.display());
    let (mut agent_a, mut agent_b) = (apart(&lab, &mut one, &state), apart(&lab, &mut two, &state));
    let (a, b) = (Flannel { site: &one, number: 1 }, Flannel { site: &two, number: 2 });
    for flannel in [&a, &b] {
        fs::write(folder.join(format!("{}.yaml", flannel.number)), flannel.manifest()).unwrap();
    }
    a.daemon(&b);
    b.daemon(&a);
    let (old_a, old_b) = (a.pod("old-a"), b.pod("old-b"));
    let _serve = [old_a.serve("old-a", PORT), old_b.serve("old-b", PORT)];
    let mut lasting = old_b.addresses.iter().map(|to| Lasting::new(&old_a, &old_b, *to)).collect::<Vec<_>>();
    let mut go_on = |when: &str| lasting.iter_mut().for_each(|one| one.goes_on(when));
    let olds = [("old-a", &old_a), ("old-b", &old_b)];
    go_on("before");
    reach(&olds, [&one, &two], "before");
    let index = || one.node.output("cat", &["/sys/class/net/flannel.1/ifindex"]).unwrap();
    let before = index();

    agent_a.start();
    go_on("one has moved");
    let (new_a, _serve_a) = served(&one, "new-a");
    reach(&[olds[0], olds[1], ("new-a", &new_a)], [&one, &two], "one has moved");
    assert_eq!(index(), before, "flannel's interface is used as it is");
    let links = one.node.output("ip", &["link"]).unwrap();
    assert!(!links.contains("bowline-vxlan"), "{links}");
    // Its daemon, if it still runs, says what it said before.
    a.routes(&b);
    go_on("both");
    // Somebody removes flannel's interfaces: they are made anew, as they were.
    a.ip("link del flannel.1");
    a.ip("link del flannel-v6.1");
    wait_for("flannel's interfaces", PATIENCE, || {
        let links = one.node.output("ip", &["-br", "link"]).unwrap();
        links.contains(&a.mac(true)) && links.contains(&a.mac(false))
    })
    .unwrap();
    go_on("they were removed");
    reach(&[olds[0], olds[1], ("new-a", &new_a)], [&one, &two], "they were removed");

    agent_b.start();
    go_on("both have moved");
    let (new_b, _serve_b) = served(&two, "new-b");
    reach(&[olds[0], olds[1], ("new-a", &new_a), ("new-b", &new_b)], [&one, &two], "both have moved");

    // Back: the agent stops, flannel's daemon starts and finds its interfaces.
    new_a.del();
    agent_a.stop();
    a.routes(&b);
    let mut cleanup = one.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
    cleanup.arg("cleanup").arg("--cni-state-dir").arg(one.folder.join("state"));
    cleanup.arg("--cgroup-root").arg(one.node.cgroup()).arg("--bpf-root").arg(one.node.bpf_root());
    let said = run(&mut cleanup).ok();
    assert!(!said.contains("flannel") && !said.contains("route to"), "{said}");
    assert!(said.contains("net.ipv6.conf.cni0.proxy_ndp = 0"), "{said}");
    go_on("one is back");
    reach(&[olds[0], olds[1], ("new-b", &new_b)], [&one, &two], "one is back");
    drop((agent_a, agent_b));
}
