//! Makes the kernel match the snapshot.
//!
//! ```text
//! Snapshot ─> plan (what each Service port needs) ─> table (ids, slices, backends) ─> maps
//! object, links: the programs, their maps and where they are pinned and attached
//! ```

mod arena;
mod attach;
pub mod check;
pub mod cleanup;
mod features;
mod grace;
mod ids;
pub mod inspect;
mod kernel;
mod migrate;
pub mod node;
pub mod place;
pub mod plan;
mod records;
pub mod stand_in;
mod table;

pub use kernel::{KernelError, Sizes};
pub use table::{TableError, Usage};

/// Keeps the agent's memory small: all threads share one heap. Called first thing.
pub fn one_heap() {
    bowline_sys::one_heap();
}
