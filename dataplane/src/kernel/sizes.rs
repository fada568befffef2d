//! How many entries the maps have, as the flags `--max-…` say.

use bowline_ebpf::layout::VERSION;

use super::folders::{LAYOUT, name_of};

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Front ends: addresses times ports.
    pub frontends: u32,
    /// Service ports, a family each; one less than the array.
    pub services: u32,
    /// Backends of all of them; one less than the array.
    pub backends: u32,
    /// Words of the arena; a power of two, at most 2^20.
    pub slots: u32,
    /// Open sockets that were translated.
    pub sockets: u32,
    /// Clients with affinity.
    pub affinity: u32,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            frontends: 131_072,
            services: 65_536,
            backends: 262_144,
            slots: 1 << 20,
            sockets: 1_048_576,
            affinity: 65_536,
        }
    }
}

impl Sizes {
    /// By map.
    pub(super) fn entries(&self) -> [(&'static str, u32); 6] {
        [
            ("frontends", self.frontends),
            ("services", self.services),
            ("backends", self.backends),
            ("sockets", self.sockets),
            ("affinity", self.affinity),
            ("names", self.services),
        ]
    }

    /// The name of the folder in which maps of this layout and these sizes are pinned.
    pub(crate) fn folder(&self) -> String {
        name_of(LAYOUT, VERSION, &self.entries())
    }
}
