//! The bare socket loop of a DNS server: batches of questions in, the same with QR set out, and nothing between. What
//! it answers a second is what the kernel leaves a server on one core: the limit beside which servers are measured.
//!
//! ```text
//! echo ADDRESS [CPU]
//! ```

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;

use bowline_sys::datagrams::{Receiver, Sender};
use bowline_sys::listen::{self, Options};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::{CpuSet, sched_setaffinity};

/// QR, the first bit of the third byte (RFC 1035 section 4.1.1).
const ANSWER: u8 = 0x80;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("usage: echo ADDRESS [CPU]")?.parse()?;
    if let Some(cpu) = arguments.next() {
        let mut set = CpuSet::new();
        set.set(cpu.parse()?);
        sched_setaffinity(None, &set)?;
    }
    let socket = listen::udp(address, Options::default())?;
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    loop {
        match receiver.receive(&socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        for datagram in receiver.datagrams().filter(|d| d.bytes.len() >= 12 && !d.is_cut) {
            let Some(room) = sender.room() else { break };
            room[..datagram.bytes.len()].copy_from_slice(datagram.bytes);
            room[2] |= ANSWER;
            sender.push(&datagram.path, datagram.bytes.len());
        }
        while sender.send(&socket).left > 0 {
            poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None)?;
        }
    }
}
