//! A client that has many questions under way.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::ask::{Ask, Via};

/// Questions under way at one time over UDP.
const WINDOW: usize = 96;
/// Questions on one connection: CoreDNS closes it after 128.
const ON_CONNECTION: usize = 64;
/// How long an answer is waited for. Where only one server has answered, both are asked again with more patience.
pub(crate) const SOON: Duration = Duration::from_millis(1200);
pub(crate) const LATE: Duration = Duration::from_secs(4);

/// Asks all of a server's port on loopback; an answer for each, or none that comes within `patience`. A datagram may be
/// lost, so questions over UDP are asked again after half of it.
pub(crate) fn ask(port: u16, asks: &[Ask], patience: Duration) -> Vec<Option<Vec<u8>>> {
    let mut groups: BTreeMap<(IpAddr, Via), Vec<usize>> = BTreeMap::new();
    for (at, ask) in asks.iter().enumerate() {
        groups.entry((ask.from, ask.via)).or_default().push(at);
    }
    let mut answers = vec![None; asks.len()];
    for ((from, via), group) in groups {
        let to =
            SocketAddr::new(if from.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }, port);
        match via {
            Via::Udp => over_udp(from, to, asks, &group, patience, &mut answers),
            Via::Tcp => {
                for some in group.chunks(ON_CONNECTION) {
                    // A connection that ends early leaves questions without an answer, which is told as such.
                    let _ = over_tcp(from, to, asks, some, patience, &mut answers);
                }
            }
        }
    }
    answers
}

/// Asks once over UDP, and waits no longer than this.
pub(crate) fn ask_once(port: u16, ask: &Ask, patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.send(&ask.bytes).ok()?;
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// The questions' bytes, under this id.
fn with_id(ask: &Ask, id: u16) -> Vec<u8> {
    let mut bytes = ask.bytes.clone();
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes
}

fn over_udp(
    from: IpAddr,
    to: SocketAddr,
    asks: &[Ask],
    group: &[usize],
    patience: Duration,
    answers: &mut [Option<Vec<u8>>],
) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // By place in the group: when it was asked first, and whether again.
    let mut under_way: BTreeMap<usize, (Instant, bool)> = BTreeMap::new();
    let (mut next, mut buffer) = (0, vec![0; 65536]);
    let send = |place: usize| drop(socket.send(&with_id(&asks[group[place]], place as u16)));
    while next < group.len() || !under_way.is_empty() {
        while next < group.len() && under_way.len() < WINDOW {
            send(next);
            under_way.insert(next, (Instant::now(), false));
            next += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(length) if length >= 2 => {
                let place = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                if under_way.remove(&place).is_some() {
                    answers[group[place]] = Some(buffer[..length].to_vec());
                }
            }
            // It isn't there (any more): the others will show it.
            Ok(_) | Err(_) => {}
        }
        let now = Instant::now();
        under_way.retain(|place, (asked, again)| {
            if !*again && now - *asked > patience / 2 {
                *again = true;
                send(*place);
            }
            now - *asked < patience
        });
    }
}

fn over_tcp(
    from: IpAddr,
    to: SocketAddr,
    asks: &[Ask],
    group: &[usize],
    patience: Duration,
    answers: &mut [Option<Vec<u8>>],
) -> io::Result<()> {
    let mut stream = connected(from, to)?;
    stream.set_read_timeout(Some(patience))?;
    let mut all = Vec::new();
    for (place, at) in group.iter().enumerate() {
        let bytes = with_id(&asks[*at], place as u16);
        all.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        all.extend_from_slice(&bytes);
    }
    stream.write_all(&all)?;
    for _ in group {
        let answer = framed(&mut stream)?;
        let Some([high, low]) = answer.first_chunk() else { continue };
        if let Some(at) = group.get(usize::from(u16::from_be_bytes([*high, *low]))) {
            answers[*at] = Some(answer);
        }
    }
    Ok(())
}

/// A message from a stream.
fn framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A connection from this address, which the standard library doesn't choose.
fn connected(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The messages that answer one question over TCP, until `is_last` says so, the connection ends, or nothing comes.
pub(crate) fn ask_for_many(port: u16, ask: &Ask, mut is_last: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let mut all = Vec::new();
    let Ok(mut stream) = connected(ask.from, to) else { return all };
    stream.set_read_timeout(Some(LATE)).unwrap();
    let framed_ask = [&(ask.bytes.len() as u16).to_be_bytes()[..], &ask.bytes].concat();
    if stream.write_all(&framed_ask).is_ok() {
        while let Ok(answer) = framed(&mut stream) {
            let ends = is_last(&answer);
            all.push(answer);
            if ends {
                break;
            }
        }
    }
    all
}
