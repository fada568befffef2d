//! Makes the kernel match the snapshot.
//!
//! ```text
//! Snapshot ─> plan (what each Service port needs) ─> table (ids, slices, backends) ─> maps
//! kernel: the programs and their maps, where they are pinned, and the attach points of programs
//! packets: pods' packets: programs at their devices and at the node's links, and what those know
//! ```

mod arena;
pub mod check;
pub mod cleanup;
mod features;
mod grace;
mod ids;
pub mod inspect;
mod kernel;
mod migrate;
pub mod node;
pub mod packets;
pub mod place;
pub mod plan;
mod records;
pub mod stand_in;
mod table;

pub use kernel::{KernelError, Sizes, links};
pub use table::{TableError, Usage};

/// Keeps the agent's memory small: all threads share one heap. Called first thing.
pub fn one_heap() {
    bowline_sys::one_heap();
}
