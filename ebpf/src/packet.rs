//! Packets of pods: the records of their maps, and what is decided of a packet. Pure, as the decisions on sockets
//! ([`crate::decide`]): the programs below `programs/src/packets` read a packet and the maps, ask here, and carry it out.
//!
//! ```text
//! layout    what stands in the maps
//! header    bytes of a packet ─> Packet
//! source    may this pod send that?
//! sctp      SCTP's checksum after a change of ports
//! flow      who is translated how, and for how long
//! verdict   how it ended, counted
//! ```

pub mod flow;
pub mod header;
pub mod layout;
pub mod sctp;
pub mod source;
pub mod verdict;
