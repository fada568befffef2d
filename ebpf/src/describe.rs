//! A description of the layout, by field, so that an agent can read the maps of one with another layout,
//! older or newer, and programs of one layout can read the socket entries of another while both live.
//!
//! The description is the only value of the pinned map `layout`. Its own form never changes: an array of
//! 16-bit numbers whose index is a [`Field`]; a number is never given to another field; [`ABSENT`] is a
//! field that the writer didn't have.

use crate::layout::{ENTRIES, VERSION};

pub use crate::layout::Field;

/// Entries of a description.
pub const FIELDS: usize = 64;

/// A field that the layout doesn't have.
pub const ABSENT: u16 = u16::MAX;

/// The description of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Description {
    /// The layout's version; 0 is "none".
    pub version: u32,
    /// Zero.
    pub pad: u32,
    /// Indexed by [`Field`].
    pub fields: [u16; FIELDS],
}

impl Description {
    /// No layout.
    pub const NONE: Description = Description { version: 0, pad: 0, fields: [ABSENT; FIELDS] };

    /// The layout of this build.
    pub const OURS: Description = {
        let mut d = Description { version: VERSION, pad: 0, fields: [ABSENT; FIELDS] };
        let mut i = 0;
        while i < ENTRIES.len() {
            d.fields[ENTRIES[i].0 as usize] = ENTRIES[i].1 as u16;
            i += 1;
        }
        d
    };

    /// The entry of a field.
    #[inline(always)]
    pub const fn at(&self, field: Field) -> u16 {
        self.fields[field as usize]
    }
}
