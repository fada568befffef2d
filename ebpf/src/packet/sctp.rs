//! SCTP's checksum (RFC 9260, appendix A) after the ports have changed: a CRC32c over the packet from its ports on, without the
//! addresses. It is linear: what a change of the first four bytes does to it depends on those and on how many bytes follow,
//! not on what these are. So it is followed without reading the packet.
//!
//! A bit of a polynomial stands where CRC32c has it: that of x^0 is the highest of the word.

/// The polynomial of CRC32c (Castagnoli), without x^32.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^8: by so much one more byte moves the others.
const BYTE: u32 = 1 << 31 >> 8;

/// Lengths have so many bits: no packet is longer than 65,535 bytes.
const BITS: usize = 16;

/// x^8, squared so many times.
const SQUARES: [u32; BITS] = squares();

const fn squares() -> [u32; BITS] {
    let mut squares = [BYTE; BITS];
    let mut at = 1;
    while at < BITS {
        squares[at] = product(squares[at - 1], squares[at - 1]);
        at += 1;
    }
    squares
}

/// The product of two polynomials, modulo that of CRC32c. Without branches, since the kernel's verifier goes through each.
#[inline(always)]
const fn product(a: u32, b: u32) -> u32 {
    let (mut left, mut shifted, mut product, mut turn) = (a, b, 0, 0);
    while turn < 32 {
        product ^= shifted & 0_u32.wrapping_sub(left >> 31);
        left <<= 1;
        shifted = (shifted >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(shifted & 1));
        turn += 1;
    }
    product
}

/// The sum of a packet of `length` bytes, ports included, whose first word is no longer `from` but `to`. Words are as they lie in
/// the packet. Zero says that there is no sum: the device will make it, or nobody (RFC 9653). That stays so.
#[inline(always)]
pub fn sum_after(sum: u32, from: u32, to: u32, length: u32) -> u32 {
    if sum == 0 {
        return 0;
    }
    let mut difference = u32::from_le(from ^ to);
    let mut bit = 0;
    while bit < BITS {
        if length >> bit & 1 == 1 {
            difference = product(difference, SQUARES[bit]);
        }
        bit += 1;
    }
    sum ^ difference.to_le()
}

#[cfg(test)]
mod tests;
