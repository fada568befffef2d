//! Random numbers that nobody can foretell: message ids and letter cases.

use std::cell::RefCell;

use ring::rand::{SecureRandom, SystemRandom};

/// Bytes asked of the system at once: one system call for many questions.
const BATCH: usize = 1024;

struct Supply {
    bytes: [u8; BATCH],
    /// How many were not given out yet; they stand at the front.
    left: usize,
}

thread_local!(static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply { bytes: [0; BATCH], left: 0 }) });

/// A random byte.
fn byte() -> u8 {
    SUPPLY.with_borrow_mut(|supply| {
        if supply.left == 0 {
            if SystemRandom::new().fill(&mut supply.bytes).is_err() {
                // No kernel since 3.17 fails here. Seeded by the system as well, though not meant for secrets.
                fastrand::fill(&mut supply.bytes);
            }
            supply.left = BATCH;
        }
        supply.left -= 1;
        supply.bytes[supply.left]
    })
}

/// A random id.
pub(super) fn id() -> u16 {
    u16::from_be_bytes([byte(), byte()])
}

/// Gives the letters among these bytes a random case.
pub(super) fn randomize_case(name: &mut [u8]) {
    let (mut bits, mut left) = (0, 0);
    for letter in name.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        if left == 0 {
            (bits, left) = (byte(), 8);
        }
        *letter ^= (bits & 1) << 5;
        (bits, left) = (bits >> 1, left - 1);
    }
}
