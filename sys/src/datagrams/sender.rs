//! A batch of datagrams that go out.

use std::io;
use std::os::fd::AsFd;

use super::slots::Memory;
use super::{BATCH, Path, ROOM};

/// Sends datagrams in batches of up to [`BATCH`]; about 270 KB, of which only used pages are resident.
#[derive(Debug)]
pub struct Sender {
    memory: Memory,
    /// The slots from here up to `end` are filled and not sent.
    first: usize,
    end: usize,
    /// Slots whose bytes are longer than the room.
    long: Vec<(usize, Vec<u8>)>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams that it refused for good: too long, forbidden by a filter, nowhere to go. They are dropped.
    pub failed: usize,
    /// Datagrams that had no room in the socket's buffer. They stay in the batch: wait until the socket is
    /// writable and send again, or clear.
    pub left: usize,
    /// Why the last of the failed ones was refused.
    pub error: Option<io::Error>,
}

impl Sender {
    /// An empty one.
    pub fn new() -> Sender {
        Sender { memory: Memory::new(), first: 0, end: 0, long: Vec::new() }
    }

    /// Whether the batch takes no more datagrams before it is sent or cleared.
    pub fn is_full(&self) -> bool {
        self.end == BATCH
    }

    /// How many datagrams wait in the batch.
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Where to write the next datagram in place, before `push`; None: the batch is full. It holds what was
    /// left there by former ones.
    pub fn room(&mut self) -> Option<&mut [u8; ROOM]> {
        let slot = self.memory.slots_mut().buffers.get_mut(self.end)?;
        Some(&mut slot.bytes)
    }

    /// Adds the first `length` bytes of `room` (at most [`ROOM`]) as a datagram. False: the batch is full.
    pub fn push(&mut self, path: &Path, length: usize) -> bool {
        if self.is_full() {
            return false;
        }
        let (at, slots) = (self.end, self.memory.slots_mut());
        let name = slots.names[at].write(path);
        let control = slots.controls[at].write(path);
        slots.fill(at, length, name, control);
        self.end += 1;
        true
    }

    /// Adds a datagram by copying it; one above [`ROOM`] bytes allocates. False: the batch is full.
    pub fn push_bytes(&mut self, path: &Path, bytes: &[u8]) -> bool {
        let Some(room) = self.room() else { return false };
        match room.get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                let at = self.end;
                self.long.push((at, bytes.to_vec()));
            }
        }
        self.push(path, bytes.len())
    }

    /// Drops what waits in the batch.
    pub fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
        self.long.clear();
    }

    /// Sends the batch by a UDP socket. Never waits, whatever the socket's mode, and one datagram that can't be
    /// sent stops no other. The batch is empty afterwards, or has what is `left`.
    pub fn send(&mut self, socket: impl AsFd) -> Sent {
        let mut result = Sent::default();
        let mut was_told = false;
        while self.first < self.end {
            match self.memory.send(socket.as_fd(), self.first, self.end, &self.long) {
                Ok(count) => {
                    result.sent += count;
                    self.first += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    result.left = self.len();
                    return result;
                }
                // On a connected socket: what the peer answered to a former datagram, which being told has cleared.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !was_told => was_told = true,
                // sendmmsg(2) tells the error of the first datagram only.
                Err(error) => {
                    result.failed += 1;
                    result.error = Some(error);
                    self.first += 1;
                }
            }
        }
        self.clear();
        result
    }
}

impl Default for Sender {
    fn default() -> Self {
        Sender::new()
    }
}
