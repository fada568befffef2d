//! What the kernel programs and the agent share: the records of the maps and the decisions on them.
//!
//! Compiled twice: for the kernel into `programs/`, for the host into the agent and the tests. No
//! allocation, no standard library, no unsafe code: a decision sees the maps through traits
//! ([`decide::Tables`], [`decide::Sockets`]), which the kernel implements by map calls and the tests by
//! a model.
#![cfg_attr(not(test), no_std)]

pub mod decide;
pub mod describe;
pub mod features;
pub mod layout;
pub mod packet;
pub mod record;
pub mod verdict;
