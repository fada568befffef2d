//! How fast an interface sends, and which have a queue at all: a token bucket (TBF, linux/pkt_sched.h), for which the library
//! has no words of its own.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};
use rtnetlink::packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};

use crate::{Net, NetError, Order};

const TBF: &str = "tbf";
/// TCA_TBF_PARMS, TCA_TBF_RATE64 and TCA_TBF_BURST.
const PARMS: u16 = 1;
const RATE64: u16 = 4;
const BURST: u16 = 6;

/// The longest that the kernel hands to an interface in one piece: a bucket that holds less would let it never pass.
const PIECE: u64 = 65_536;
/// What waits longer than that is dropped.
const LATENCY_MS: u64 = 25;

/// What an interface has that sends at once.
const NO_QUEUE: &str = "noqueue";

impl Net {
    /// The interfaces that have a queue, whoever gave it to them: what they send may wait there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn queued_links(&self) -> Result<HashSet<u32>, NetError> {
        let all = self.handle.qdisc().get().execute();
        let queued = all.try_filter_map(async |one| Ok(of_queue(&one)));
        self.runtime.block_on(queued.try_collect()).map_err(NetError)
    }

    /// Lets an interface send at most so many bits a second, after so many bits at once. The burst is made as large as a
    /// packet needs.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn put_shaper(&self, index: u32, rate_bits: u64, burst_bits: u64) -> Result<(), NetError> {
        let rate = (rate_bits / 8).max(1);
        let burst = (burst_bits / 8).clamp(PIECE, u64::from(u32::MAX));
        let limit = (rate.saturating_mul(LATENCY_MS) / 1000).saturating_add(burst).min(u64::from(u32::MAX));
        // struct tc_tbf_qopt: two rates of 12 bytes, the second zero; limit, buffer, mtu. The bucket is told by BURST.
        let mut parms = [0_u8; 36];
        let low = u32::try_from(rate).unwrap_or(u32::MAX);
        // linklayer: Ethernet, so that the kernel wants no table of times.
        parms[1] = 1;
        parms[8..12].copy_from_slice(&low.to_ne_bytes());
        parms[24..28].copy_from_slice(&(limit as u32).to_ne_bytes());
        let mut options = vec![DefaultNla::new(PARMS, parms.to_vec())];
        options.push(DefaultNla::new(BURST, (burst as u32).to_ne_bytes().to_vec()));
        if u32::try_from(rate).is_err() {
            options.push(DefaultNla::new(RATE64, rate.to_ne_bytes().to_vec()));
        }
        let header = TcHeader {
            index: index as i32,
            parent: TcHandle::ROOT,
            handle: TcHandle { major: 1, minor: 0 },
            ..TcHeader::default()
        };
        let attributes = vec![
            TcAttribute::Kind(TBF.to_owned()),
            TcAttribute::Options(options.into_iter().map(TcOption::Other).collect()),
        ];
        let message = RouteNetlinkMessage::NewQueueDiscipline(TcMessage::from_parts(header, attributes));
        self.tell(vec![Order { message, flags: NLM_F_CREATE | NLM_F_REPLACE }])
    }
}

/// The interface of a queue at the root; what is below the root, or looks at packets that come (clsact), is none of these.
fn of_queue(message: &TcMessage) -> Option<u32> {
    let is_queue = |attribute: &TcAttribute| matches!(attribute, TcAttribute::Kind(kind) if kind != NO_QUEUE);
    let is_at_root = message.header.parent == TcHandle::ROOT;
    let index = u32::try_from(message.header.index).ok()?;
    (is_at_root && message.attributes.iter().any(is_queue)).then_some(index)
}
