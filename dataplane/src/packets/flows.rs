//! Flows that are over are forgotten: by their time, or since what they were of is gone.

use std::io;

use bowline_ebpf::packet::flow::{REPLY, SHORTEST, timeout};
use bowline_ebpf::packet::layout::{Address, Flow as Record, Tuple};
use bowline_sys::{Cursor, monotonic};

use super::{KernelError, Packets};

/// So many entries are asked for at once.
const BATCH: u32 = 4096;
/// So many batches [`Packets::expire`] goes through.
const BATCHES: u32 = 8;

/// The time that flows are measured by: nanoseconds of the monotonic clock.
pub fn now() -> u64 {
    monotonic()
}

/// One direction of a flow, as the map has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// What packets arrive with.
    pub(super) key: Tuple,
    /// What is said of them.
    pub(super) record: Record,
}

impl Flow {
    /// The addresses at its ends, on both sides of the translation.
    pub(super) fn ends(&self) -> [Address; 4] {
        let Flow { key, record: Record { to, .. } } = self;
        [key.source, key.destination, to.source, to.destination]
    }

    /// Whether it is the way back.
    pub(super) fn is_reply(&self) -> bool {
        self.record.made & REPLY != 0
    }

    /// The key of the other direction.
    fn other(&self) -> Tuple {
        self.record.to.reversed()
    }
}

impl Packets {
    /// Forgets flows whose time is over at `now` ([`now`]); called every few seconds. It goes through a part of the table each
    /// time, some ten thousand entries. Says how many flows it forgot.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn expire(&mut self, now: u64) -> Result<usize, KernelError> {
        let mut cursor = std::mem::take(&mut self.walk);
        let mut forgotten = 0;
        for _ in 0..BATCHES {
            for flow in self.some_flows(&mut cursor)? {
                if self.is_over(&flow, now)? {
                    forgotten += usize::from(self.forget_flow(&flow)?);
                }
            }
            if cursor.is_at_beginning() {
                break;
            }
        }
        self.walk = cursor;
        Ok(forgotten)
    }

    fn is_over(&self, flow: &Flow, now: u64) -> Result<bool, KernelError> {
        if now.saturating_sub(flow.record.seen) < SHORTEST {
            return Ok(false);
        }
        let other = self.flows.get(&flow.other().to_bytes()).map_err(self.in_map("flows", "reading"))?;
        // One whose other direction is missing is no flow: something ended between the two.
        let Some(other) = other.as_deref().map(Record::from_bytes) else { return Ok(true) };
        if flow.is_reply() {
            // It is judged from its other direction.
            return Ok(false);
        }
        let idle = now.saturating_sub(flow.record.seen.max(other.seen));
        Ok(idle > timeout(flow.key.protocol, flow.record.flags, other.flags))
    }

    /// Forgets all flows of which something holds, both directions. Says how many.
    pub(super) fn forget_flows(&self, is_meant: impl Fn(&Flow) -> bool) -> Result<usize, KernelError> {
        let (mut cursor, mut forgotten) = (Cursor::default(), 0);
        loop {
            for flow in self.some_flows(&mut cursor)?.iter().filter(|flow| !flow.is_reply() && is_meant(flow)) {
                forgotten += usize::from(self.forget_flow(flow)?);
            }
            if cursor.is_at_beginning() {
                return Ok(forgotten);
            }
        }
    }

    /// Removes both directions, this one first. False: it was gone already, perhaps with its other direction.
    fn forget_flow(&self, flow: &Flow) -> Result<bool, KernelError> {
        let remove = |key: Tuple| self.flows.remove(&key.to_bytes()).map_err(self.in_map("flows", "writing"));
        let was_there = remove(flow.key)?;
        remove(flow.other())?;
        Ok(was_there)
    }

    fn some_flows(&self, cursor: &mut Cursor) -> Result<Vec<Flow>, KernelError> {
        let mut flows = Vec::new();
        let read: io::Result<()> = self.flows.batch(cursor, BATCH, |key, value| {
            flows.push(Flow { key: Tuple::from_bytes(key), record: Record::from_bytes(value) });
        });
        read.map_err(self.in_map("flows", "reading"))?;
        Ok(flows)
    }
}
