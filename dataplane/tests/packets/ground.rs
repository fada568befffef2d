//! A node with two pods, another node that stands for the world, and sockets in all of them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use bowline_dataplane::packets::{Link, LinkKind, PacketSizes, PacketVerdict, Packets, PodWire};
use bowline_dataplane::place::make_root;
use bowline_lab::{Host, Lab, Node, Pod, wait_for};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Ground {
    _lab: Lab,
    pub(crate) node: Node,
    pub(crate) a: Pod,
    pub(crate) b: Pod,
    pub(crate) outside: Node,
}

/// Moves this thread into a host's network namespace.
fn enter(host: &Host) {
    let netns = File::open(host.netns()).unwrap();
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Does something in a host's network namespace.
pub(crate) fn inside<T: Send>(host: &Host, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            enter(host);
            what()
        });
        there.join().unwrap()
    })
}

/// The two addresses of a host.
pub(crate) fn addresses(host: &Host) -> [IpAddr; 2] {
    [host.v4().into(), host.v6().into()]
}

pub(crate) fn ip(host: &Host, args: &str) -> String {
    host.output("ip", &args.split(' ').collect::<Vec<_>>()).unwrap()
}

impl Ground {
    /// This thread is in the node's namespace from now on.
    pub(crate) fn new(tag: &str) -> Ground {
        let lab = Lab::new(tag).unwrap();
        let node = lab.node("node").unwrap();
        let (a, b) = (node.pod("a").unwrap(), node.pod("b").unwrap());
        let outside = lab.node("outside").unwrap();
        enter(&node);
        make_root(node.bpf_root()).unwrap().keep();
        Ground { _lab: lab, node, a, b, outside }
    }

    pub(crate) fn packets(&self, sizes: PacketSizes) -> Packets {
        Packets::open(self.node.bpf_root(), sizes).unwrap()
    }

    /// With pods and the uplink; without masquerade.
    pub(crate) fn served(&self) -> Packets {
        let mut packets = self.packets(PacketSizes::default());
        self.serve(&mut packets, false);
        packets
    }

    pub(crate) fn serve(&self, packets: &mut Packets, masquerade: bool) {
        packets.set_node_addresses(&addresses(&self.node)).unwrap();
        packets.put_link(&self.uplink(masquerade)).unwrap();
        packets.put_pod(&self.wire_a()).unwrap();
        packets.put_pod(&self.wire_b()).unwrap();
    }

    pub(crate) fn wire_a(&self) -> PodWire {
        self.wire(&self.a, "pod2")
    }

    pub(crate) fn wire_b(&self) -> PodWire {
        self.wire(&self.b, "pod3")
    }

    fn wire(&self, pod: &Pod, device: &str) -> PodWire {
        let (index, host_mac) = device_of(&self.node, device);
        let (_, pod_mac) = device_of(pod, "eth0");
        PodWire { index, host_mac, pod_mac, v4: Some(pod.v4()), v6: Some(pod.v6()), mtu: 1500, has_queue: false }
    }

    pub(crate) fn uplink(&self, masquerade: bool) -> Link {
        let (index, _) = device_of(&self.node, "eth0");
        let (v4, v6) = (masquerade.then_some(self.node.v4()), masquerade.then_some(self.node.v6()));
        Link { index, kind: LinkKind::Uplink, v4, v6 }
    }

    /// With pods and the uplink, where pods get the node's address; the world doesn't know the way to pods.
    pub(crate) fn masqueraded(&self, sizes: PacketSizes) -> Packets {
        let mut packets = self.packets(sizes);
        self.serve(&mut packets, true);
        self.hide_pods();
        packets
    }

    pub(crate) fn hide_pods(&self) {
        ip(&self.outside, "-4 route del 10.1.0.0/16");
        ip(&self.outside, "-6 route del fd00:1::/32");
    }

    /// A node whose firewall lets nothing through.
    pub(crate) fn forbid_forwarding(&self) {
        for tool in ["iptables", "ip6tables"] {
            self.node.output(tool, &["-P", "FORWARD", "DROP"]).unwrap();
        }
    }
}

/// Index and Ethernet address of a device.
pub(crate) fn device_of(host: &Host, device: &str) -> (u32, [u8; 6]) {
    let line = ip(host, &format!("-o link show {device}"));
    let index = line.split(':').next().unwrap().trim().parse().unwrap();
    let mac = line.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    (index, mac.try_into().unwrap())
}

pub(crate) fn count(packets: &Packets, verdict: PacketVerdict) -> u64 {
    packets.counts().into_iter().find(|(one, _)| *one == verdict).unwrap().1
}

/// Binds in a host. A port that was just given up may be in use for a moment: a process that another test starts has it, too,
/// until it is another program.
fn bound<T: Send>(host: &Host, bind: impl Fn() -> io::Result<T> + Sync) -> T {
    let mut socket = None;
    wait_for("the port is free", PATIENCE, || {
        socket = match inside(host, &bind) {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            Err(error) => panic!("{error}"),
        };
        socket.is_some()
    })
    .unwrap();
    socket.unwrap()
}

/// A socket in a host, at one of its addresses or wherever it may be.
pub(crate) fn udp(host: &Host, at: IpAddr, port: u16) -> UdpSocket {
    let socket = bound(host, || UdpSocket::bind((at, port)));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a question, which the other socket answers; returns from whom the question came.
pub(crate) fn ask_udp(client: &UdpSocket, to: SocketAddr, server: &UdpSocket, question: &[u8]) -> SocketAddr {
    let mut room = vec![0; 65536];
    client.send_to(question, to).unwrap();
    let (length, from) = server.recv_from(&mut room).unwrap();
    assert!(room[..length] == *question, "{length} bytes of another question came to {to}");
    server.send_to(question, from).unwrap();
    let (length, answered) = client.recv_from(&mut room).unwrap();
    assert!(room[..length] == *question, "{length} bytes of another answer came from {to}");
    assert_eq!(answered, to, "the answer comes from where was asked");
    from
}

/// A socket for ICMP echoes in a host, with this identifier.
pub(crate) fn ping(host: &Host, at: IpAddr, id: u16) -> UdpSocket {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with};
    host.output("sh", &["-c", "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range"]).unwrap();
    let (family, protocol) =
        if at.is_ipv4() { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
    let socket = inside(host, || {
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol)).unwrap();
        bind(&socket, &SocketAddr::new(at, id)).unwrap();
        UdpSocket::from(socket)
    });
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Pings a host, with so many bytes.
pub(crate) fn ask_ping(socket: &UdpSocket, to: IpAddr, bytes: usize) {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    // Type, code, sum and identifier, which are the kernel's matter, a sequence number, and what is told.
    let mut question = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    question.extend((0..bytes).map(|at| (at % 251) as u8));
    socket.send_to(&question, (to, 0)).unwrap();
    let mut answer = vec![0; 65536];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from.ip(), to);
    assert!(answer[6..length] == question[6..], "{length} bytes of another answer");
    assert_eq!(u16::from_be_bytes([answer[4], answer[5]]), socket.local_addr().unwrap().port(), "its own identifier");
}

/// A server of TCP in a host.
pub(crate) fn listen(host: &Host, at: IpAddr, port: u16) -> TcpListener {
    bound(host, || TcpListener::bind((at, port)))
}

/// A connection from a host to a server: both ends.
pub(crate) fn connect(host: &Host, to: SocketAddr, server: &TcpListener) -> (TcpStream, TcpStream) {
    let client = inside(host, || TcpStream::connect_timeout(&to, PATIENCE).unwrap());
    let (server, _) = server.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

/// Sends so many bytes each way.
pub(crate) fn exchange(ends: &mut (TcpStream, TcpStream), bytes: usize) {
    let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    for turn in [false, true] {
        let (from, to) = if turn { (&ends.0, &ends.1) } else { (&ends.1, &ends.0) };
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let received = thread::scope(|scope| {
            scope.spawn(|| from.write_all(&sent).unwrap());
            let mut received = vec![0; bytes];
            to.read_exact(&mut received).unwrap();
            received
        });
        assert!(received == sent, "what came is not what was sent");
    }
}

/// Waits until a verdict was given.
pub(crate) fn wait_for_count(packets: &Packets, verdict: PacketVerdict, more_than: u64) {
    wait_for(verdict.as_str(), PATIENCE, || count(packets, verdict) > more_than).unwrap();
}
