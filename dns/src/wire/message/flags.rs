//! The second 16 bits of a message (RFC 1035 §4.1.1, RFC 4035 §3.2).
use crate::wire::{Opcode, Rcode};

/// The flags, the opcode and the lower 4 bits of the response code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(pub u16);

/// Defines one bit: its reader, its setter, and its setter by value.
macro_rules! bits {
    ($($about:literal $read:ident $set:ident $with:ident = $bit:literal,)*) => {$(
        #[doc = $about]
        pub const fn $read(self) -> bool {
            self.0 & $bit != 0
        }

        #[doc = concat!("Sets or clears: ", $about)]
        pub fn $set(&mut self, on: bool) {
            *self = self.$with(on);
        }

        #[doc = concat!("With or without: ", $about)]
        #[must_use]
        pub const fn $with(self, on: bool) -> Flags {
            Flags(if on { self.0 | $bit } else { self.0 & !$bit })
        }
    )*};
}

impl Flags {
    bits! {
        "An answer." qr set_qr with_qr = 0x8000,
        "An authoritative answer." aa set_aa with_aa = 0x0400,
        "Cut to fit." tc set_tc with_tc = 0x0200,
        "Recursion is desired." rd set_rd with_rd = 0x0100,
        "Recursion is available." ra set_ra with_ra = 0x0080,
        "Reserved, always clear." z set_z with_z = 0x0040,
        "Authentic data." ad set_ad with_ad = 0x0020,
        "Checking disabled." cd set_cd with_cd = 0x0010,
    }

    /// What the message asks for.
    pub const fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11 & 15) as u8)
    }

    /// Sets the opcode's 4 bits.
    pub fn set_opcode(&mut self, opcode: Opcode) {
        *self = self.with_opcode(opcode);
    }

    /// With this opcode.
    #[must_use]
    pub const fn with_opcode(self, opcode: Opcode) -> Flags {
        Flags(self.0 & !0x7800 | (opcode.0 as u16 & 15) << 11)
    }

    /// The lower 4 bits of the response code; `Message::rcode` has all.
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & 15)
    }

    /// Sets the lower 4 bits of the response code.
    pub fn set_rcode(&mut self, rcode: Rcode) {
        *self = self.with_rcode(rcode);
    }

    /// With the lower 4 bits of this response code.
    #[must_use]
    pub const fn with_rcode(self, rcode: Rcode) -> Flags {
        Flags(self.0 & !15 | rcode.0 & 15)
    }
}
