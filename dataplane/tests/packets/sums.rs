//! Checksums of what is translated. Between namespaces of one machine the kernel leaves a connection's sums to a device that
//! never makes them, and nobody looks. So these segments are made by hand, whole; the kernel answers none that is wrong.

use std::net::{IpAddr, SocketAddr};

use bowline_cluster::object::Protocol;
use bowline_dataplane::packets::{HostPort, PacketSizes};
use bowline_lab::Host;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use crate::ground::{Ground, PATIENCE, addresses, connect, inside, listen};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A segment that begins a connection (RFC 9293).
fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend([0, 0, 0, 7, 0, 0, 0, 0, 5 << 4, SYN, 0xff, 0xff, 0, 0, 0, 0]);
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut summed = [address(from.ip()), address(to.ip()), vec![0, 6, 0, 20]].concat();
    summed.extend(&segment);
    let mut sum: u32 = summed.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    segment
}

fn raw(host: &Host, family: AddressFamily) -> OwnedFd {
    let socket =
        inside(host, || socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::TCP)).unwrap());
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
    socket
}

/// Begins a connection, and waits for the answer to it.
fn begin(host: &Host, from: SocketAddr, to: SocketAddr) {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = raw(host, family);
    sendto(&socket, &syn(from, to), SendFlags::empty(), &SocketAddr::new(to.ip(), 0)).unwrap();
    let mut room = [0; 2048];
    loop {
        let length = recv(&socket, &mut room[..], RecvFlags::empty()).unwrap().0;
        // With the IP header, of IPv4 alone.
        let segment = &room[if from.is_ipv4() { 20 } else { 0 }..length];
        let ports = [to.port().to_be_bytes(), from.port().to_be_bytes()].concat();
        if segment.starts_with(&ports) && segment[13] & (SYN | ACK) == SYN | ACK {
            return;
        }
    }
}

#[test]
fn a_sum_that_was_right_is_right_after_each_translation() {
    let ground = Ground::new("sums");
    let mut packets = ground.masqueraded(PacketSizes::default());
    for family in [0, 1] {
        let [a, b, node, world] =
            [&*ground.a, &*ground.b, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        let server = listen(&ground.outside, world, 0);
        let to = server.local_addr().unwrap();
        // By another address, and by another port too, since the node has this one.
        begin(&ground.a, SocketAddr::new(a, 47_000), to);
        let of_node = listen(&ground.node, node, 47_001);
        begin(&ground.a, SocketAddr::new(a, 47_001), to);
        drop(of_node);
        // By a port of the node.
        let host_port = HostPort { host_ip: None, port: 8080, protocol: Protocol::Tcp, pod: a, pod_port: 5000 };
        packets.put_host_port(&host_port).unwrap();
        let server = listen(&ground.a, a, 5000);
        for (host, from) in [(&*ground.outside, world), (&*ground.b, b), (&*ground.a, a)] {
            begin(host, SocketAddr::new(from, 47_002), SocketAddr::new(node, 8080));
        }
        drop(connect(&ground.b, SocketAddr::new(node, 8080), &server));
    }
}
