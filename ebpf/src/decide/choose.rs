//! Which backend of a service: its stand-in while that is alive, otherwise as the service's slice says.

use super::Tables;
use crate::layout::{AFFINITY, Affinity, AffinityKey, Endpoint, HEADER, Pick, Word, is_alive};
use crate::verdict::Verdict;

/// A backend that was chosen.
pub(super) struct Chosen {
    pub(super) id: u32,
    pub(super) life: u32,
    pub(super) endpoint: Endpoint,
    pub(super) verdict: Verdict,
}

/// Spreads the bits of a client's cookie (the finaliser of splitmix64).
#[inline(always)]
pub const fn hash(client: u64) -> u32 {
    let mut x = client.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as u32
}

/// A number below `length` from 32 even bits.
#[inline(always)]
const fn scale(bits: u32, length: u32) -> u32 {
    ((bits as u64 * length as u64) >> 32) as u32
}

/// Where a backend is, if it is in this life a member of the service's set.
#[inline(always)]
pub(super) fn member<T: Tables>(t: &T, service: u32, id: u32, life: u32) -> Option<Endpoint> {
    if !is_alive(life) {
        return None;
    }
    match t.backend(id) {
        Some(b) if b.life == life && b.service == service => Some(b.endpoint),
        _ => None,
    }
}

/// Whether a service's stand-in takes calls now. It must be alive, which it says again and again: once it is dead or
/// hangs, calls go to the endpoints without anything having to notice.
#[inline(always)]
fn takes<T: Tables>(t: &T, stand_in: u32) -> bool {
    stand_in != 0 && t.now() < t.alive_until() && !t.is_stand_in_calling()
}

/// Chooses a backend for a client.
///
/// # Errors
/// The verdict, where there is none.
#[inline(always)]
pub(super) fn choose<T: Tables>(t: &T, service: u32, client: u64) -> Result<Chosen, Verdict> {
    let word = Word(t.word(service));
    if !word.is_published() {
        return Err(Verdict::Withdrawn);
    }
    let stand_in = t.stand_in(service);
    if takes(t, stand_in)
        && let Some(b) = t.backend(stand_in)
        && b.service == service
        && is_alive(b.life)
    {
        return Ok(Chosen { id: stand_in, life: b.life, endpoint: b.endpoint, verdict: Verdict::StandIn });
    }
    if word.length() == 0 {
        return Err(Verdict::NoEndpoint);
    }
    let how = t.slot(word.base());
    let sticky = how & AFFINITY != 0;
    let key = AffinityKey::new(client, service);
    if sticky {
        let seconds = t.slot(word.base() + 1);
        let now = t.now();
        if let Some(a) = t.affinity(&key)
            // Another CPU may have used it after we read the clock.
            && now.saturating_sub(a.used) <= seconds as u64 * 1_000_000_000
            && let Some(endpoint) = member(t, service, a.backend, a.life)
        {
            t.touch_affinity(&key, now);
            return Ok(Chosen { id: a.backend, life: a.life, endpoint, verdict: Verdict::Affinity });
        }
    }
    let index = match how & 0xff {
        x if x == Pick::Random as u32 => scale(t.random(), word.length()),
        x if x == Pick::Client as u32 => scale(hash(client), word.length()),
        _ => (t.turn(service) % word.length() as u64) as u32,
    };
    let id = t.slot(word.base() + HEADER + index);
    let Some(backend) = t.backend(id) else { return Err(Verdict::Inconsistent) };
    if sticky {
        t.set_affinity(&key, &Affinity { used: t.now(), backend: id, life: backend.life });
    }
    Ok(Chosen { id, life: backend.life, endpoint: backend.endpoint, verdict: Verdict::Scheduled })
}

/// Whether a socket may stay with a backend as far as the service's stand-in goes: with it while it takes calls, and
/// with any other while it doesn't.
#[inline(always)]
pub(super) fn may_stay<T: Tables>(t: &T, service: u32, backend: u32) -> bool {
    let stand_in = t.stand_in(service);
    stand_in == 0 || (backend == stand_in) == takes(t, stand_in)
}
