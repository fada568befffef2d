//! Ports of the node that pods have: from the world, from another pod, and from the pod itself.

use std::net::{IpAddr, SocketAddr};

use bowline_cluster::object::Protocol;
use bowline_dataplane::packets::{HostPort, HostPortError, PacketSizes, PacketVerdict as V, Packets, PodWire, now};
use bowline_lab::Host;

use crate::ground::{Ground, addresses, ask_udp, connect, count, exchange, listen, udp};

const PORT: u16 = 8080;
const POD_PORT: u16 = 5000;

fn host_port(protocol: Protocol, host_ip: Option<IpAddr>, pod: IpAddr) -> HostPort {
    HostPort { host_ip, port: PORT, protocol, pod, pod_port: POD_PORT }
}

fn put(packets: &mut Packets, host_ip: Option<IpAddr>, pod: IpAddr) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        packets.put_host_port(&host_port(protocol, host_ip, pod)).unwrap();
    }
}

/// Who asks, the node's address, the pod's.
fn ways(ground: &Ground, who: &Host) -> Vec<(IpAddr, IpAddr, IpAddr)> {
    let [who, node, pod] = [addresses(who), addresses(&ground.node), addresses(&ground.a)];
    [0, 1].map(|family| (who[family], node[family], pod[family])).to_vec()
}

/// Asks by TCP and UDP; returns whom the pod sees.
fn ask(ground: &Ground, who: &Host, (from, node, pod): (IpAddr, IpAddr, IpAddr)) -> IpAddr {
    let to = SocketAddr::new(node, PORT);
    let server = udp(&ground.a, pod, POD_PORT);
    let seen = ask_udp(&udp(who, from, 0), to, &server, b"?");
    let server = listen(&ground.a, pod, POD_PORT);
    let mut ends = connect(who, to, &server);
    exchange(&mut ends, 1 << 20);
    assert_eq!(ends.1.peer_addr().unwrap().ip(), seen.ip());
    seen.ip()
}

#[test]
fn a_port_of_the_node_leads_to_its_pod() {
    let ground = Ground::new("hp");
    let mut packets = ground.masqueraded(PacketSizes::default());
    ground.forbid_forwarding();
    for pod in addresses(&ground.a) {
        put(&mut packets, None, pod);
    }
    for (who, is_itself) in [(&*ground.outside, false), (&*ground.b, false), (&*ground.a, true)] {
        for way in ways(&ground, who) {
            let seen = ask(&ground, who, way);
            assert_eq!(seen, if is_itself { way.1 } else { way.0 }, "{way:?}");
        }
    }
    assert_eq!(count(&packets, V::HostPort), 12);
    // What the pod itself begins is masqueraded as ever.
    for (family, world) in addresses(&ground.outside).into_iter().enumerate() {
        let server = udp(&ground.outside, world, 0);
        let client = udp(&ground.a, addresses(&ground.a)[family], 0);
        let seen = ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        assert_eq!(seen.ip(), addresses(&ground.node)[family]);
        assert_eq!(ask_udp(&client, server.local_addr().unwrap(), &server, b"?"), seen);
    }
    assert_eq!(count(&packets, V::Moved), 0);
}

#[test]
fn it_is_only_at_the_address_that_was_named() {
    let ground = Ground::new("hpip");
    let mut packets = ground.masqueraded(PacketSizes::default());
    let node: IpAddr = ground.node.v4().into();
    crate::ground::ip(&ground.node, "addr add 192.168.0.99/32 dev eth0");
    let other: IpAddr = "192.168.0.99".parse().unwrap();
    packets.set_node_addresses(&[other]).unwrap();
    put(&mut packets, Some(node), ground.a.v4().into());
    let server = udp(&ground.a, ground.a.v4().into(), POD_PORT);
    let client = udp(&ground.outside, ground.outside.v4().into(), 0);
    ask_udp(&client, (node, PORT).into(), &server, b"?");
    // The node's own server has it at another address.
    let own = udp(&ground.node, other, PORT);
    ask_udp(&client, (other, PORT).into(), &own, b"?");
    // And at a foreign address it is nobody's, whatever port it is.
    let foreign: SocketAddr = "10.9.9.9:8080".parse().unwrap();
    crate::ground::ip(&ground.outside, &format!("route add 10.9.9.9 via {node}"));
    let before = count(&packets, V::HostPort);
    client.send_to(b"?", foreign).unwrap();
    ask_udp(&client, (node, PORT).into(), &server, b"?");
    assert_eq!(count(&packets, V::HostPort), before);
}

#[test]
fn the_next_pod_gets_what_comes_at_once() {
    let ground = Ground::new("hpnext");
    let mut packets = ground.masqueraded(PacketSizes::default());
    let [a, b]: [IpAddr; 2] = [ground.a.v4().into(), ground.b.v4().into()];
    let to = ground.node.address(PORT);
    put(&mut packets, None, a);
    let client = udp(&ground.outside, ground.outside.v4().into(), 0);
    let (server_a, server_b) = (udp(&ground.a, a, POD_PORT), udp(&ground.b, b, POD_PORT));
    ask_udp(&client, to, &server_a, b"?");
    let listener = listen(&ground.a, a, POD_PORT);
    let mut connection = connect(&ground.outside, to, &listener);
    let error = packets.put_host_port(&host_port(Protocol::Udp, None, b)).unwrap_err();
    assert!(matches!(error, HostPortError::Taken { owner, .. } if owner == a), "{error}");
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        packets.remove_host_port(&host_port(protocol, None, b)).unwrap();
        assert_eq!(packets.host_ports().unwrap().len(), if protocol == Protocol::Tcp { 2 } else { 1 });
        packets.remove_host_port(&host_port(protocol, None, a)).unwrap();
    }
    put(&mut packets, None, b);
    // The same socket.
    ask_udp(&client, to, &server_b, b"?");
    exchange(&mut connection, 1 << 16);
    // Or the pod is gone.
    packets.remove_pod(ground.wire_b().index).unwrap();
    assert_eq!(packets.expire(now() + 121_000_000_000).unwrap(), 0);
}

#[test]
fn a_pod_that_comes_after_its_port_and_an_agent_after_both() {
    let ground = Ground::new("hplate");
    let mut packets = ground.packets(PacketSizes::default());
    let all =
        [host_port(Protocol::Udp, None, ground.a.v4().into()), host_port(Protocol::Udp, None, ground.a.v6().into())];
    all.iter().for_each(|one| packets.put_host_port(one).unwrap());
    ground.serve(&mut packets, true);
    let mut said = packets.host_ports().unwrap();
    said.sort_by_key(|one| one.pod);
    assert_eq!(said, all);
    let ask = || {
        for (from, node, pod) in ways(&ground, &ground.outside) {
            let server = udp(&ground.a, pod, POD_PORT);
            ask_udp(&udp(&ground.outside, from, 0), (node, PORT).into(), &server, b"?");
        }
    };
    ask();
    drop(packets);
    ask();
    let mut packets = ground.packets(PacketSizes::default());
    packets.put_pod(&PodWire { mtu: 1400, ..ground.wire_a() }).unwrap();
    ask();
}

#[test]
fn what_can_not_be_is_refused() {
    let ground = Ground::new("hpno");
    let mut packets = ground.packets(PacketSizes::default());
    let v6 =
        HostPort { host_ip: Some(ground.node.v6().into()), ..host_port(Protocol::Tcp, None, ground.a.v4().into()) };
    assert!(matches!(packets.put_host_port(&v6), Err(HostPortError::Family { .. })));
}
