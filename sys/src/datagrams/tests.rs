//! Over the kernel's loopback, both families. The tests with a network of their own need root and ip(8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::address::{CONTROL, Control, NAME, Name};
use super::*;
use crate::listen::{self, Options};

/// No test waits that long where things work.
const LONG: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

fn server(address: &str) -> UdpSocket {
    listen::udp(address.parse().unwrap(), Options::default()).unwrap()
}

fn client(from: &str, to: impl Into<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn wait(socket: &UdpSocket, flags: PollFlags) {
    assert_eq!(poll(&mut [PollFd::new(socket, flags)], Some(&LONG)).unwrap(), 1, "nothing happened");
}

/// Sends everything back where it came from.
fn echo(socket: &UdpSocket, receiver: &mut Receiver, sender: &mut Sender) -> Vec<Path> {
    wait(socket, PollFlags::IN);
    receiver.receive(socket).unwrap();
    for datagram in receiver.datagrams() {
        assert!(sender.push_bytes(&datagram.path, datagram.bytes));
    }
    let sent = sender.send(socket);
    assert_eq!((sent.failed, sent.left), (0, 0), "{sent:?}");
    receiver.datagrams().map(|d| d.path).collect()
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Runs a test in a network of its own, with interface `near` (192.0.2.1/24, fe80::1) joined to `far`.
fn in_network(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            // SAFETY: no preconditions; only this thread changes its network, and it ends with the test.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a network of its own needs root");
            ip("link set lo up");
            ip("link add near type veth peer name far");
            ip("addr add 192.0.2.1/24 dev near");
            ip("addr add fe80::1/64 dev near nodad");
            ip("link set near up");
            ip("link set far up");
            test();
        });
        inside.join().unwrap();
    });
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip(8) is installed");
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn each_answer_goes_to_its_source_in_both_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let socket = server(address);
        let clients: Vec<_> = (0..5).map(|_| client(address, socket.local_addr().unwrap())).collect();
        for (at, client) in clients.iter().enumerate() {
            client.send(format!("question {at}").as_bytes()).unwrap();
        }
        let paths = echo(&socket, &mut Receiver::new(), &mut Sender::new());
        for (at, client) in clients.iter().enumerate() {
            assert_eq!(received(client), format!("question {at}").as_bytes());
            assert_eq!(paths[at], Path::to(client.local_addr().unwrap()));
        }
    }
}

/// A connected client hears only the address that it asked.
#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    for address in ["[::]:0", "0.0.0.0:0"] {
        let socket = server(address);
        let port = socket.local_addr().unwrap().port();
        let asked = [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.2"), ("[::1]:0", "::1")];
        let asked = asked.map(|(from, to)| (from, to.parse::<IpAddr>().unwrap()));
        let clients = asked.map(|(from, to)| client(from, (to, port)));
        for client in &clients {
            client.send(b"question").unwrap();
        }
        let paths = echo(&socket, &mut Receiver::new(), &mut Sender::new());
        assert_eq!(paths.len(), 3);
        for ((client, path), (_, to)) in clients.iter().zip(&paths).zip(asked) {
            assert_eq!(received(client), b"question");
            assert_eq!(path.peer, client.local_addr().unwrap());
            assert_eq!(path.local.unwrap().address, to);
            assert_ne!(path.local.unwrap().interface, 0);
            assert_eq!(path.mapped, to.is_ipv4());
        }
    }
}

#[test]
fn a_link_local_address_is_answered_on_its_interface() {
    in_network(|| {
        let socket = server("[::]:0");
        let near = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let near = near.lines().find(|l| l.starts_with("fe80") && l.ends_with("near")).unwrap();
        let scope = u32::from_str_radix(near.split(' ').nth(1).unwrap(), 16).unwrap();
        let to = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), socket.local_addr().unwrap().port(), 0, scope);
        let client = client("[::]:0", SocketAddr::V6(to));
        // Until the kernel has noticed that the link is up, a question may be lost.
        let a_little = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let has_come = || poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&a_little)).unwrap() == 1;
        let asked = (0..200).any(|_| {
            let _ = client.send(b"question");
            has_come()
        });
        assert!(asked, "nothing has come");
        let paths = echo(&socket, &mut Receiver::new(), &mut Sender::new());
        assert_eq!(paths[0].local, Some(Local { address: IpAddr::V6(*to.ip()), interface: scope }));
        assert_eq!(paths[0].peer, client.local_addr().unwrap());
        assert_eq!(received(&client), b"question");
    });
}

#[test]
fn what_is_longer_than_the_room_is_cut_and_told() {
    let socket = server("127.0.0.1:0");
    let client = client("127.0.0.1:0", socket.local_addr().unwrap());
    for length in [0, ROOM, ROOM + 1, 60_000, 3] {
        client.send(&vec![7; length]).unwrap();
    }
    let mut receiver = Receiver::new();
    for _ in 0..2 {
        wait(&socket, PollFlags::IN);
        assert_eq!(receiver.receive(&socket).unwrap(), 5);
        let seen: Vec<_> = receiver.datagrams().map(|d| (d.bytes.len(), d.is_cut)).collect();
        assert_eq!(seen, [(0, false), (ROOM, false), (ROOM, true), (ROOM, true), (3, false)]);
        // Once more, now in slots that have been used otherwise.
        for length in [0, ROOM, ROOM + 1, 60_000, 3] {
            client.send(&vec![7; length]).unwrap();
        }
    }
}

#[test]
fn a_batch_is_what_waits_and_no_more_than_it_holds() {
    let socket = server("127.0.0.1:0");
    let client = client("127.0.0.1:0", socket.local_addr().unwrap());
    let mut receiver = Receiver::new();
    assert_eq!(receiver.receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);
    for number in 0..100u8 {
        client.send(&[number]).unwrap();
    }
    let mut seen = Vec::new();
    for expected in [BATCH, 100 - BATCH] {
        assert_eq!(receiver.receive(&socket).unwrap(), expected);
        seen.extend(receiver.datagrams().map(|d| d.bytes[0]));
    }
    assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    assert_eq!(receiver.receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(receiver.datagrams().count(), 0);
}

#[test]
fn a_full_batch_takes_nothing_more() {
    let socket = server("127.0.0.1:0");
    let path = Path::to(socket.local_addr().unwrap());
    let mut sender = Sender::new();
    for number in 0..BATCH as u8 {
        sender.room().unwrap()[0] = number;
        assert!(sender.push(&path, 1));
    }
    assert!(sender.is_full());
    assert!(sender.room().is_none());
    assert!(!sender.push(&path, 1));
    assert!(!sender.push_bytes(&path, b"more"));
    assert!(!sender.push_bytes(&path, &[0; ROOM + 1]));
    assert_eq!(sender.send(&socket).sent, BATCH);
    assert!(sender.is_empty());
    let mut receiver = Receiver::new();
    wait(&socket, PollFlags::IN);
    assert_eq!(receiver.receive(&socket).unwrap(), BATCH);
    assert!(receiver.datagrams().map(|d| d.bytes).eq((0..BATCH as u8).map(|n| [n])));
}

#[test]
fn long_answers_go_whole_and_leave_nothing_behind() {
    let socket = server("127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let path = Path::to(client.local_addr().unwrap());
    let mut sender = Sender::new();
    for _ in 0..2 {
        for (byte, length) in [(1, 65_507), (2, 5), (3, ROOM + 1), (4, ROOM)] {
            assert!(sender.push_bytes(&path, &vec![byte; length]));
        }
        assert_eq!(sender.send(&socket).sent, 4);
        for (byte, length) in [(1, 65_507), (2, 5), (3, ROOM + 1), (4, ROOM)] {
            assert_eq!(received(&client), vec![byte; length]);
        }
        // A length beyond the room is held to it.
        for byte in [5, 6, 7, 8] {
            sender.room().unwrap().fill(byte);
            assert!(sender.push(&path, usize::MAX));
        }
        assert_eq!(sender.send(&socket).sent, 4);
        for byte in [5, 6, 7, 8] {
            assert_eq!(received(&client), [byte; ROOM]);
        }
    }
}

#[test]
fn one_bad_destination_stops_no_other() {
    let socket = server("127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let good = Path::to(client.local_addr().unwrap());
    let bad = [
        // Broadcast without SO_BROADCAST: EACCES. No port: EINVAL. The other family: EAFNOSUPPORT or EINVAL.
        Path::to("255.255.255.255:53".parse().unwrap()),
        Path::to("127.0.0.1:0".parse().unwrap()),
        Path::to("[::1]:53".parse().unwrap()),
        // From an address that nobody here has.
        Path { local: Some(Local { address: "192.0.2.77".parse().unwrap(), interface: 0 }), ..good },
    ];
    let mut sender = Sender::new();
    sender.push_bytes(&bad[0], b"bad");
    for (at, path) in bad.iter().enumerate() {
        assert!(sender.push_bytes(&good, &[at as u8]));
        assert!(sender.push_bytes(path, b"bad"));
    }
    // EMSGSIZE: more than a datagram of IPv4 holds.
    sender.push_bytes(&good, &[0; 65_508]);
    sender.push_bytes(&good, b"last");
    let sent = sender.send(&socket);
    assert_eq!((sent.sent, sent.failed, sent.left), (5, 6, 0), "{sent:?}");
    assert_eq!(sent.error.unwrap().raw_os_error(), Some(libc::EMSGSIZE));
    for at in 0..4 {
        assert_eq!(received(&client), [at]);
    }
    assert_eq!(received(&client), b"last");
}

/// A neighbour that doesn't answer keeps datagrams in the socket's buffer.
#[test]
fn what_finds_the_buffer_full_stays_for_another_time() {
    in_network(|| {
        let socket = server("192.0.2.1:0");
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 4096).unwrap();
        let mut sender = Sender::new();
        let nobody = Path::to("192.0.2.2:53".parse().unwrap());
        for _ in 0..BATCH {
            assert!(sender.push_bytes(&nobody, &[0; 1000]));
        }
        let sent = sender.send(&socket);
        assert!(sent.sent > 0 && sent.left > 0 && sent.failed == 0, "{sent:?}");
        assert_eq!(sent.sent + sent.left, BATCH);
        assert_eq!(sender.len(), sent.left);
        // Now the neighbour is known, and what waited leaves.
        ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
        let mut left = sent.left;
        while left > 0 {
            wait(&socket, PollFlags::OUT);
            let sent = sender.send(&socket);
            assert_eq!((sent.sent + sent.left, sent.failed), (left, 0), "{sent:?}");
            left = sent.left;
        }
        assert!(sender.is_empty());
    });
}

/// In a network of its own nobody else takes the port, nor the allowance of refusals (icmp_msgs_per_sec of icmp(7)).
#[test]
fn a_refusal_costs_no_later_datagram() {
    in_network(|| {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = Path::to(gone.local_addr().unwrap());
        let socket = client("127.0.0.1:0", path.peer);
        drop(gone);
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
        sender.push_bytes(&path, b"refused");
        assert_eq!(sender.send(&socket).sent, 1);
        wait(&socket, PollFlags::IN);
        assert_eq!(receiver.receive(&socket).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(receiver.receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);

        sender.push_bytes(&path, b"refused");
        assert_eq!(sender.send(&socket).sent, 1);
        wait(&socket, PollFlags::ERR);
        let back = UdpSocket::bind(path.peer).unwrap();
        back.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..3 {
            sender.push_bytes(&path, b"taken");
        }
        assert_eq!(sender.send(&socket).sent, 3);
        for _ in 0..3 {
            assert_eq!(received(&back), b"taken");
        }
    });
}

#[test]
fn no_socket_is_an_error_and_no_more() {
    let file = std::fs::File::open("/proc/self/status").unwrap();
    assert_eq!(Receiver::new().receive(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    let mut sender = Sender::new();
    sender.push_bytes(&Path::to("127.0.0.1:53".parse().unwrap()), b"question");
    assert_eq!(sender.send(&file).failed, 1);
}

/// A socket of another kind has other addresses.
#[test]
fn a_peer_without_an_address_of_the_internet_is_left_out() {
    let (one, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    one.send(b"question").unwrap();
    let mut receiver = Receiver::new();
    assert_eq!(receiver.receive(&other).unwrap(), 1);
    assert_eq!(receiver.datagrams().count(), 0);
}

#[test]
fn names_and_control_messages_are_read_as_written() {
    let local = |address: &str, interface| Some(Local { address: address.parse().unwrap(), interface });
    for (peer, local, mapped) in [
        ("192.0.2.1:53", local("192.0.2.9", 0), false),
        ("192.0.2.1:53", local("192.0.2.9", 0), true),
        ("[2001:db8::1]:65535", local("2001:db8::9", 0), false),
        ("[fe80::1%7]:1", local("fe80::2", 7), false),
        ("[2001:db8::1]:53", None, false),
    ] {
        let path = Path { peer: peer.parse().unwrap(), local, mapped };
        let (mut name, mut control) = (Name([0xff; NAME]), Control([0xff; CONTROL]));
        let (length, room) = (name.write(&path), control.write(&path));
        assert_eq!(name.read(length), Some((path.peer, mapped)));
        let read = control.read(room);
        // IPv4's form for sending has the address in another field than the one for receiving.
        if mapped || path.peer.is_ipv6() {
            assert_eq!(read, local);
        } else {
            assert_eq!(read.unwrap().address, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            assert_eq!(control.0[20..24], [192, 0, 2, 9]);
        }
    }
}

#[test]
fn bytes_that_mean_nothing_are_no_address() {
    for length in 0..=CONTROL + 8 {
        for size in [0, 1, 15, 16, 17, 27, 28, 36, 40, 41, usize::MAX - 3, usize::MAX] {
            for kind in [libc::IP_PKTINFO, libc::IPV6_PKTINFO, 99] {
                let mut control = Control([0; CONTROL]);
                control.0[..8].copy_from_slice(&size.to_ne_bytes());
                control.0[12..16].copy_from_slice(&kind.to_ne_bytes());
                assert!(control.read(length).is_none_or(|local| local.address.is_unspecified()));
            }
        }
        assert_eq!(Name([0; NAME]).read(length), None);
        assert_eq!(Name([0xff; NAME]).read(length), None);
    }
}
