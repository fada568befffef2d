//! Sockets of the real kernel, on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::*;

const SHARED: Options = Options { reuse_port: true, one_family: false, freebind: false, transparent: false };

#[test]
fn an_address_is_shared_only_where_wanted() {
    let one = udp("127.0.0.1:0".parse().unwrap(), SHARED).unwrap();
    let address = one.local_addr().unwrap();
    udp(address, SHARED).unwrap();
    assert_eq!(udp(address, Options::default()).unwrap_err().kind(), ErrorKind::AddrInUse);

    let one = tcp("[::1]:0".parse().unwrap(), SHARED).unwrap();
    let address = one.local_addr().unwrap();
    tcp(address, SHARED).unwrap();
    assert_eq!(tcp(address, Options::default()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn an_unspecified_address_means_both_families() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let listener = tcp(address.parse().unwrap(), Options::default()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let port = listener.local_addr().unwrap().port();
        for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
            let mut client = TcpStream::connect((ip, port)).unwrap();
            client.write_all(b"question").unwrap();
            drop(client);
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            assert_eq!(text, "question");
        }
    }
}

#[test]
fn an_address_of_one_family_leaves_the_other_alone() {
    // Another program may have the port in the other family: so more than one.
    let free = (0..10).any(|_| {
        let v6 = udp("[::1]:0".parse().unwrap(), Options::default()).unwrap();
        let port = v6.local_addr().unwrap().port();
        udp(SocketAddr::new("127.0.0.1".parse().unwrap(), port), Options::default()).is_ok()
    });
    assert!(free);
    let own = Options { one_family: true, ..Options::default() };
    assert!(udp("0.0.0.0:0".parse().unwrap(), own).unwrap().local_addr().unwrap().is_ipv4());
    let v6 = udp("[::]:0".parse().unwrap(), own).unwrap();
    assert!(rustix::net::sockopt::ipv6_v6only(&v6).unwrap());
}

#[test]
fn an_address_of_nobody_is_bound_only_where_wanted() {
    for address in ["192.0.2.99:0", "[2001:db8::99]:0"] {
        let address = address.parse().unwrap();
        assert_eq!(udp(address, Options::default()).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(tcp(address, Options::default()).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let free = Options { freebind: true, ..Options::default() };
        assert_eq!(udp(address, free).unwrap().local_addr().unwrap().ip(), address.ip());
        assert_eq!(tcp(address, free).unwrap().local_addr().unwrap().ip(), address.ip());
        let transparent = Options { transparent: true, ..Options::default() };
        assert_eq!(udp(address, transparent).expect("needs root").local_addr().unwrap().ip(), address.ip());
        assert_eq!(tcp(address, transparent).expect("needs root").local_addr().unwrap().ip(), address.ip());
    }
}

#[test]
fn sockets_do_not_block_and_have_room_for_bursts() {
    let socket = udp("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap();
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // The kernel shows twice of what was asked for.
    let room = rustix::net::sockopt::socket_recv_buffer_size(&socket).unwrap();
    assert_eq!(room, 2 * RECEIVE_BUFFER as usize);
    let listener = tcp("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
