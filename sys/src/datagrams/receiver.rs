//! A batch of datagrams that came.

use std::io;
use std::os::fd::AsFd;

use super::slots::Memory;
use super::{Path, ROOM};

/// Receives datagrams in batches of up to [`super::BATCH`]; about 270 KB, of which only used pages are resident.
#[derive(Debug)]
pub struct Receiver {
    memory: Memory,
    count: usize,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its first [`ROOM`] bytes.
    pub bytes: &'a [u8],
    /// Whether it had more.
    pub is_cut: bool,
    /// From whom, and to which of our addresses.
    pub path: Path,
}

impl Receiver {
    /// An empty one.
    pub fn new() -> Receiver {
        Receiver { memory: Memory::new(), count: 0 }
    }

    /// Takes what waits at a UDP socket and forgets the batch before; returns how many. Never waits, whatever
    /// the socket's mode. Fewer than a batch: nothing more waited.
    ///
    /// # Errors
    /// WouldBlock where nothing waits; what a connected socket's peer answered (ECONNREFUSED and the like: the
    /// next call goes on); whatever else recvmmsg(2) says.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        for at in 0..std::mem::take(&mut self.count) {
            self.memory.slots_mut().offer(at);
        }
        loop {
            match self.memory.receive(socket.as_fd()) {
                Ok(count) => {
                    self.count = count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The datagrams of the batch, in the order in which they came.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let slots = self.memory.slots();
        (0..self.count).filter_map(move |at| {
            let (length, name, control, is_cut) = slots.received(at);
            let (peer, mapped) = slots.names[at].read(name)?;
            let path = Path { peer, local: slots.controls[at].read(control), mapped };
            Some(Datagram { bytes: &slots.buffers[at].bytes[..length.min(ROOM)], is_cut, path })
        })
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver::new()
    }
}
