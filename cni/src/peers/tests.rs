//! What is planned, from what the cluster says and from how nodes are reached; that the kernel has it, `cni/tests` shows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bowline_cluster::object::{Flannel, FlannelEnd};
use bowline_net::{Forward, Mac, Neighbour};

use super::nodes::Peer;
use super::plan::{Plan, narrower, plan};
use super::tunnel::{End, Ends, mac_of};
use super::ways::{Hop, Ways};
use super::write::is_same;
use super::*;

const MACS: [Mac; 2] = [[0x5e, 0, 0, 0, 4, 2], [0x5e, 0, 0, 0, 6, 2]];
const FLANNEL: Tunnels = Tunnels { id: 1, port: 8472, when: When::Always, mtu: None, flannel: true };

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One that flannel knows by other addresses than its InternalIPs.
fn peer(id: u32) -> Peer {
    let end = |address, mac| Some(FlannelEnd { address: ip(address), vxlan: Some((id, mac)) });
    let (v4, v6) = (end("192.0.2.2", MACS[0]), end("2001:db8::2", MACS[1]));
    Peer {
        name: "two".into(),
        addresses: vec![ip("10.0.0.2"), ip("fd00::2")],
        networks: ["10.244.2.0/24", "fd44:0:0:2::/64"].map(|one| one.parse().unwrap()).to_vec(),
        flannel: Some(Box::new(Flannel { backend: "vxlan".into(), v4, v6 })),
    }
}

/// The plan for that peer, behind a router by the first of its addresses in each family.
fn planned(peer: Peer, tunnels: Tunnels) -> (Plan, Vec<String>) {
    let hop = |is_v4: bool| {
        let address = peer.known_by(tunnels).find(|address| address.is_ipv4() == is_v4)?;
        Some(Hop { address, device: 2, is_far: true, mtu: None })
    };
    let ways = Ways { peers: vec![[hop(true), hop(false)]], out: Some(2) };
    let link = |index: u32| Link {
        index,
        name: format!("tunnel{index}"),
        alias: String::new(),
        mac: None,
        mtu: 1450,
        is_up: true,
        is_running: true,
        kind: "vxlan".into(),
        master: 0,
        vxlan: Some((tunnels.id, tunnels.port)),
    };
    let end = |index, local: &str| Some(End { link: link(index), local: ip(local), addresses: Vec::new() });
    let ends: Ends = [end(4, "10.0.0.1"), end(6, "fd00::1").filter(|_| tunnels.flannel)];
    let nodes = Nodes { peers: vec![peer], ..Nodes::default() };
    let mut problems = Vec::new();
    (plan(&nodes, tunnels, &ways, &ends, &Links::new(), &mut problems), problems)
}

#[test]
fn a_peer_of_flannels_is_where_its_annotations_say_each_family_by_its_own_tunnel() {
    // Old ones don't name the identifier.
    for id in [0, 1] {
        let (plan, problems) = planned(peer(id), FLANNEL);
        assert_eq!(problems, [""; 0]);
        let forward = |device, mac, to: &str| Forward { device, mac, to: ip(to) };
        assert_eq!(plan.forwards, [forward(4, MACS[0], "192.0.2.2"), forward(6, MACS[1], "2001:db8::2")]);
        let neighbour = |device, address: &str, mac| Neighbour { device, address: ip(address), mac };
        assert_eq!(
            plan.neighbours,
            [neighbour(4, "10.244.2.0", MACS[0]), neighbour(6, "fd44:0:0:2::", MACS[1])],
            "as flannel's own routes have it"
        );
        assert_eq!(plan.routes.iter().map(|route| route.device).collect::<Vec<_>>(), [4, 6]);
    }
    // One that came later has none.
    let (plan, problems) = planned(Peer { flannel: None, ..peer(1) }, FLANNEL);
    assert_eq!(problems, [""; 0]);
    assert_eq!(plan.forwards[0], Forward { device: 4, mac: mac_of("two"), to: ip("10.0.0.2") });
    // Where its flannel has no end of a VXLAN, nobody has an Ethernet address of our choice either.
    let mut bare = peer(1);
    bare.flannel = Some(Box::new(Flannel { backend: "host-gw".into(), v4: None, v6: None }));
    let (plan, problems) = planned(bare, FLANNEL);
    assert_eq!((plan.routes.len(), problems.len()), (0, 2));
    assert!(problems[0].contains("node two: its annotations of flannel's name no end of a VXLAN"), "{problems:?}");
    // One of another network would be sent what it drops.
    let (plan, problems) = planned(peer(7), FLANNEL);
    assert_eq!((plan.routes.len(), problems.len()), (0, 2));
    assert!(problems[0].contains("node two: its flannel has the VXLAN 7, not 1"), "{problems:?}");
}

#[test]
fn without_flannel_one_tunnel_is_for_both_families_and_annotations_are_nothing() {
    let (plan, problems) = planned(peer(1), Tunnels::default());
    assert_eq!(problems, [""; 0]);
    assert_eq!(plan.forwards, [Forward { device: 4, mac: mac_of("two"), to: ip("10.0.0.2") }]);
    assert!(plan.routes.len() == 2 && plan.routes.iter().all(|route| route.device == 4), "{plan:?}");
}

#[test]
fn without_tunnels_who_is_behind_a_router_is_named() {
    let (plan, problems) = planned(peer(1), Tunnels { when: When::Never, ..FLANNEL });
    assert_eq!(plan, Plan::default());
    assert!(problems[0].contains("node two: 192.0.2.2 is behind a router") && problems.len() == 2, "{problems:?}");
}

#[test]
fn a_narrow_way_is_told_less_what_the_tunnel_adds() {
    let of = |way: Option<u32>, is_v4: bool| narrower(way, OVERHEAD_V6, 1430, is_v4);
    assert_eq!(of(None, true), None);
    assert_eq!(of(Some(1500), true), None, "as the link has it");
    assert_eq!((of(Some(1400), true), of(Some(1400), false)), (Some(1330), Some(1330)));
    assert_eq!((of(Some(1280), true), of(Some(1280), false)), (Some(1210), Some(1280)), "no IPv6 below 1280");
    assert_eq!(narrower(Some(1400), 0, 0, true), None, "the link has just gone");
}

#[test]
fn a_route_keeps_the_least_that_was_told() {
    let route = |mtu: Option<u32>| Route { mtu, ..Route::on(1, IpNet::from(IpAddr::from([10, 244, 3, 0]))) };
    let stays = |there: Option<u32>, wanted: Option<u32>| is_same(&route(there), &route(wanted));
    assert!(stays(None, None) && stays(Some(1330), Some(1330)));
    assert!(stays(Some(1330), None), "the kernel has forgotten it");
    assert!(stays(Some(1330), Some(1350)) && !stays(Some(1350), Some(1330)) && !stays(None, Some(1330)));
}
