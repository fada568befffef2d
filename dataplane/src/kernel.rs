//! The kernel's side of one agent, below one folder of a bpf file system (`--bpf-root`):
//!
//! ```text
//! sizes    how many entries the maps have
//! folders  where the maps are pinned      <bpf-root>/layout-<version>-<sizes>/<map>, packets-…/<map>
//! loader   the object for sockets: maps and programs; that for packets is with those (../packets)
//! links    programs at attach points      <bpf-root>/links/<program>[@<device>]
//! filters  the same for packets where the kernel has no tcx; nothing is pinned
//! hooks    which of ours belong to a cgroup, in which order
//! ```

mod filters;
mod folders;
mod hooks;
pub mod links;
mod loader;
mod sizes;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use folders::{Folder, PACKETS, folders, folders_of, name_of};
pub(crate) use hooks::{HOOKS, attach, foreign_hooks, is_attached, maps_in_use, maps_of_hook};
pub(crate) use loader::{explain, load_programs, make_maps, verified_instructions};
pub use sizes::Sizes;

/// What can go wrong with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A path can't be used.
    #[error("{}: {what}: {error}", path.display())]
    Path {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The object isn't taken.
    #[error("the kernel refuses the maps or the object: {0}; `bowline check` tells what is missing")]
    Object(#[from] aya::EbpfError),
    /// A program isn't taken.
    #[error("hook {hook}: {what}; `bowline check` tells what is missing")]
    Program {
        /// Which one.
        hook: &'static str,
        /// The end of what the verifier said, or the error.
        what: String,
    },
    /// A program can't be attached.
    #[error("{name} can't be attached to {point}: {error}")]
    Attach {
        /// The program.
        name: String,
        /// Where to.
        point: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A pinned map isn't what its name says.
    #[error(
        "{}: a map of another shape ({found}) than this layout's ({wanted}); \
         stop the agent and run `bowline cleanup`", path.display()
    )]
    Shape {
        /// Where it is pinned.
        path: PathBuf,
        /// Its shape.
        found: String,
        /// What it should be.
        wanted: String,
    },
}

pub(crate) fn path_error<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> KernelError + 'a {
    move |error| KernelError::Path { path: path.to_owned(), what, error }
}
