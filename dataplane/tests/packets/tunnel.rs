//! Pods of another node, over VXLAN: seen with their own addresses, whatever the uplink masquerades.

use bowline_dataplane::packets::{Link, LinkKind, PacketSizes, PacketVerdict as V};
use bowline_lab::Node;

use crate::ground::{Ground, addresses, ask_ping, ask_udp, connect, count, device_of, exchange, ip, listen, ping, udp};

/// A tunnel with static entries, and the other node's pods behind it.
fn tunnel(node: &Node, other: &Node, number: u8) -> u32 {
    let mac = |number: u8| format!("02:00:00:00:ff:{number:02x}");
    let from = 3 - number;
    let (local, remote) = (node.v4(), other.v4());
    ip(
        node,
        &format!(
            "link add vx mtu 1450 address {} type vxlan id 7 dstport 8472 local {local} remote {remote} dev eth0",
            mac(number)
        ),
    );
    ip(node, "link set vx up");
    for (family, hop, network) in [
        ("-4", format!("10.{from}.255.1"), format!("10.{from}.0.0/16")),
        ("-6", format!("fe80::ff:{from}"), format!("fd00:{from}::/32")),
    ] {
        ip(node, &format!("neigh add {hop} lladdr {} dev vx nud permanent", mac(from)));
        ip(node, &format!("{family} route replace {network} via {hop} dev vx onlink"));
    }
    device_of(node, "vx").0
}

#[test]
fn pods_of_two_nodes_reach_each_other_as_themselves() {
    let ground = Ground::new("vxlan");
    let mut packets = ground.packets(PacketSizes::default());
    let far = ground.outside.pod("far").unwrap();
    let index = tunnel(&ground.node, &ground.outside, 1);
    tunnel(&ground.outside, &ground.node, 2);
    for (host, device) in [(&*ground.node, "pod2"), (&*ground.a, "eth0"), (&*ground.outside, "pod2"), (&*far, "eth0")] {
        ip(host, &format!("link set {device} mtu 1450"));
    }
    ground.serve(&mut packets, true);
    packets.put_link(&Link { index, kind: LinkKind::Pods, v4: None, v6: None }).unwrap();
    packets.set_inside(&["10.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()]).unwrap();
    ground.forbid_forwarding();
    let large: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    for (pod, world) in addresses(&ground.a).into_iter().zip(addresses(&far)) {
        let before = [V::ToLink, V::ToPod].map(|verdict| count(&packets, verdict));
        let (client, server) = (udp(&ground.a, pod, 0), udp(&far, world, 0));
        assert_eq!(ask_udp(&client, server.local_addr().unwrap(), &server, &large), client.local_addr().unwrap());
        ask_udp(&server, client.local_addr().unwrap(), &client, &large);
        let server = listen(&far, world, 0);
        exchange(&mut connect(&ground.a, server.local_addr().unwrap(), &server), 1 << 20);
        let server = listen(&ground.a, pod, 0);
        exchange(&mut connect(&far, server.local_addr().unwrap(), &server), 1 << 20);
        ask_ping(&ping(&ground.a, pod, 7), world, 100);
        ask_ping(&ping(&far, world, 7), pod, 100);
        let after = [V::ToLink, V::ToPod].map(|verdict| count(&packets, verdict));
        assert!(after[0] >= before[0] + 40 && after[1] >= before[1] + 40, "{before:?} {after:?}");
    }
    assert_eq!(count(&packets, V::Masqueraded) + count(&packets, V::Direct), 0);
}
