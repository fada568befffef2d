//! Cookies of DNS (RFC 7873) as RFC 9018 makes them: a client shows that it gets what is sent to its address.
//!
//! Every question with a cookie gets one back, whatever the answer is; none is refused for a cookie that is missing or
//! not ours. Clients that know a server by its cookies drop answers without one, and forged ones with that.
#[cfg(test)]
mod tests;

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::wire::edns::option;
use crate::wire::{Edns, Message, Opcode};

/// The bytes of a client's cookie (RFC 7873 §4).
const CLIENT: usize = 8;
/// The bytes of a server's cookie as RFC 9018 §4 makes it: version and three reserved bytes, time, hash.
const SERVER: usize = 16;
/// The only version.
const VERSION: u8 = 1;
/// Seconds for which a cookie is given back as it came (RFC 9018 §4.3: half an hour).
const FRESH: i32 = 1800;
/// Seconds for which a cookie of ours is good, and how far it may be ahead (RFC 9018 §4.3: an hour, five minutes).
const GOOD: i32 = 3600;
const AHEAD: i32 = 300;

/// What an answer says: the client's cookie and the server's.
pub type Cookie = [u8; CLIENT + SERVER];

/// What a question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    client: &'a [u8; CLIENT],
    /// Empty, or 8 to 32 bytes that a server is said to have given.
    server: &'a [u8],
}

/// The data of the option has a length that the RFC doesn't know: the answer is FORMERR (§5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieError;

impl<'a> Asked<'a> {
    /// Reads the option's data.
    ///
    /// # Errors
    /// Its length is neither 8 nor 16 to 40.
    pub fn read(data: &'a [u8]) -> Result<Asked<'a>, CookieError> {
        let (client, server) = data.split_first_chunk().ok_or(CookieError)?;
        matches!(server.len(), 0 | 8..=32).then_some(Asked { client, server }).ok_or(CookieError)
    }

    /// The cookie of a question; of several the first counts (§5.2).
    ///
    /// # Errors
    /// See [`Asked::read`].
    pub fn of(edns: Option<&'a Edns>) -> Result<Option<Asked<'a>>, CookieError> {
        edns.and_then(|edns| edns.option(option::COOKIE)).map(Asked::read).transpose()
    }

    /// Whether it says a server's cookie too.
    pub fn has_server(&self) -> bool {
        !self.server.is_empty()
    }
}

/// Whether a message asks nothing but for a cookie (RFC 7873 §5.4).
pub fn is_alone(message: &Message) -> bool {
    message.flags.opcode() == Opcode::QUERY && message.questions.is_empty() && message.records().next().is_none()
}

/// Makes and knows the cookies of a process. All threads have the same, over reloads.
pub struct Cookies {
    secret: [u64; 2],
}

impl Default for Cookies {
    /// With a secret of its own, drawn by the standard library from the kernel's.
    fn default() -> Cookies {
        let state = std::hash::RandomState::new();
        Cookies { secret: [state.hash_one(0u8), state.hash_one(1u8)] }
    }
}

impl Cookies {
    /// What the answer to this client says: its server cookie while that is fresh, else a new one.
    pub fn answer(&self, asked: &Asked<'_>, client: IpAddr) -> Cookie {
        let now = seconds();
        let mut cookie = [0; CLIENT + SERVER];
        cookie[..CLIENT].copy_from_slice(asked.client);
        match self.age(asked, client, now) {
            Some(..=FRESH) => cookie[CLIENT..].copy_from_slice(asked.server),
            _ => {
                let [a, b, c, d] = now.to_be_bytes();
                let head = [VERSION, 0, 0, 0, a, b, c, d];
                cookie[CLIENT..SERVER].copy_from_slice(&head);
                cookie[SERVER..].copy_from_slice(&self.hash(asked.client, head, client));
            }
        }
        cookie
    }

    /// Whether the server cookie is one that this process gave to this client, not too long ago.
    pub fn is_ours(&self, asked: &Asked<'_>, client: IpAddr) -> bool {
        self.age(asked, client, seconds()).is_some()
    }

    /// Seconds since we gave this server cookie to this client; None if we didn't, or it is no longer good.
    fn age(&self, asked: &Asked<'_>, client: IpAddr, now: u32) -> Option<i32> {
        let (head, hash) = asked.server.split_first_chunk::<8>()?;
        let [VERSION, _, _, _, a, b, c, d] = *head else { return None };
        // The difference of serial numbers (RFC 1982): seconds that wrap around.
        let age = now.wrapping_sub(u32::from_be_bytes([a, b, c, d])).cast_signed();
        let is_ours = (-AHEAD..=GOOD).contains(&age) && self.hash(asked.client, *head, client)[..] == *hash;
        is_ours.then_some(age)
    }

    /// SipHash-2-4 of the client's cookie, what stands in front of the hash, and the client's address.
    fn hash(&self, cookie: &[u8; CLIENT], head: [u8; 8], client: IpAddr) -> [u8; 8] {
        let mut words = [u64::from_le_bytes(*cookie), u64::from_le_bytes(head), 0, 0, 0];
        // The last word holds the bytes that are left, and how many there were.
        let count = match client.to_canonical() {
            IpAddr::V4(address) => {
                words[2] = u64::from(u32::from_le_bytes(address.octets())) | 20 << 56;
                3
            }
            IpAddr::V6(address) => {
                let all = u128::from_le_bytes(address.octets());
                (words[2], words[3], words[4]) = (all as u64, (all >> 64) as u64, 32 << 56);
                5
            }
        };
        sip_hash(self.secret, &words[..count]).to_le_bytes()
    }
}

fn seconds() -> u32 {
    // Serial numbers: what doesn't fit wraps around (RFC 9018 §4.3).
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// SipHash-2-4 (Aumasson and Bernstein) of a message in words, the last of which holds its length.
fn sip_hash([k0, k1]: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        v[3] ^= word;
        (0..2).for_each(|_| sip_round(&mut v));
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}
