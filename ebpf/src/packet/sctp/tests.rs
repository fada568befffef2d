//! Against the sum as its definition has it, bit by bit.

use super::*;

/// CRC32c (RFC 9260, appendix A).
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
        }
    }
    !crc
}

/// The sum as it lies in a packet, which is made over zeros in its place.
fn sum(packet: &[u8]) -> u32 {
    let mut bare = packet.to_vec();
    bare[8..12].fill(0);
    crc(&bare).to_le()
}

fn first(packet: &[u8]) -> u32 {
    u32::from_ne_bytes(packet[..4].try_into().unwrap())
}

#[test]
fn crc32c_is_what_others_say_it_is() {
    assert_eq!(crc(b"123456789"), 0xe306_9283);
    // RFC 3720, B.4.
    assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
}

#[test]
fn a_sum_follows_the_ports() {
    let mut random = 1_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 16
    };
    let lengths = (12..2100).step_by(4).chain([13, 14, 15, 4096, 9000, 32_768, 40_000, 65_532, 65_535]);
    for length in lengths {
        let mut packet: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        let before = sum(&packet);
        let from = first(&packet);
        for at in 0..4 {
            // One port, then the other as well.
            packet[at] = next() as u8;
            let after = sum_after(before, from, first(&packet), length as u32);
            assert_eq!(after, sum(&packet), "{length} bytes");
        }
        assert_eq!(sum_after(before, from, from, length as u32), before);
    }
}

#[test]
fn no_sum_stays_none() {
    assert_eq!(sum_after(0, 1, 2, 100), 0);
}
