//! Whether a message is whole: each name, record and field of it, and nothing behind them. What another server sends
//! is relayed and kept as the bytes that came, so it is looked at here first: once from front to back, without taking
//! it apart or allocating, each name in a bounded number of steps.
//!
//! It is stricter than reading, which forgives clients: counts must be right, a pointer must lead to a label of an
//! earlier name (not into the header, or into a TTL that will change), and data must fill its RDLENGTH.
#[cfg(test)]
mod tests;

use super::layout::{self, Field};
use super::message::HEADER;
use super::name::MAX_NAME;
use super::{Class, Type, WireError, edns::option, u16_at};

/// The most pointers behind one name: none can have more labels.
const POINTERS: usize = MAX_NAME / 2;
/// Where pointers can lead to: they have 14 bits.
const REACH: usize = 1 << 14;

/// Looks at a whole message.
///
/// # Errors
/// What is wrong with it. [`WireError::Short`] says that it ends too early, as one does that was cut on its way.
pub fn check(message: &[u8]) -> Result<(), WireError> {
    // Most are small, and so is what has to be cleared for them.
    if message.len() <= 1024 {
        Walk::over(message, &mut [0; 1024 / 64])
    } else {
        Walk::over(message, &mut [0; REACH / 64])
    }
}

struct Walk<'a> {
    message: &'a [u8],
    /// A bit for each place where a label or pointer of a name stands, which a pointer may lead to.
    labels: &'a mut [u64],
}

impl<'a> Walk<'a> {
    fn over(message: &'a [u8], labels: &'a mut [u64]) -> Result<(), WireError> {
        let mut walk = Walk { message, labels };
        if message.len() < HEADER {
            return Err(WireError::Short(0));
        }
        let mut at = HEADER;
        for _ in 0..u16_at(message, 4)? {
            at = walk.name(at, message.len(), true)? + 4;
            if at > message.len() {
                return Err(WireError::Short(at - 4));
            }
        }
        let mut has_opt = false;
        for section in 0..3 {
            for _ in 0..u16_at(message, 6 + 2 * section)? {
                at = walk.record(at, section == 2, &mut has_opt)?;
            }
        }
        if at == message.len() { Ok(()) } else { Err(WireError::Behind(at)) }
    }

    /// The offset behind the record at `at`.
    fn record(&mut self, at: usize, is_additional: bool, has_opt: &mut bool) -> Result<usize, WireError> {
        let message = self.message;
        let head = self.name(at, message.len(), true)?;
        let fixed: &[u8; 10] = message.get(head..).and_then(<[u8]>::first_chunk).ok_or(WireError::Short(at))?;
        let (rtype, class) = (Type(u16::from_be_bytes([fixed[0], fixed[1]])), u16::from_be_bytes([fixed[2], fixed[3]]));
        let start = head + 10;
        let end = start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = message.get(start..end).ok_or(WireError::Short(start))?;
        if rtype == Type::OPT {
            // RFC 6891 §6.1.1: one, of the root, among the additionals.
            if std::mem::replace(has_opt, true) || !is_additional || message[at] != 0 {
                return Err(WireError::Opt(at));
            }
            return if options(data) { Ok(end) } else { Err(WireError::Data { rtype, at: start }) };
        }
        // Updates name what shall go without its data (RFC 2136 §2.4, §2.5).
        if !data.is_empty() || !matches!(Class(class), Class::ANY | Class::NONE) {
            self.data(rtype, start, end)?;
        }
        Ok(end)
    }

    /// Looks at the data of a record.
    fn data(&mut self, rtype: Type, start: usize, end: usize) -> Result<(), WireError> {
        let malformed = WireError::Data { rtype, at: start };
        let Some(fields) = layout::fields(rtype) else {
            // Of a type that is unknown here: there may be names in it.
            (start..end.min(REACH)).for_each(|at| self.mark(at));
            return Ok(());
        };
        let data = &self.message[start..end];
        let mut at = start;
        for field in fields {
            if field.is_name(data) {
                let is_one = *field != Field::Names;
                while is_one || at < end {
                    at = self.name(at, end, is_one).map_err(|error| match error {
                        WireError::Short(_) => malformed,
                        error => error,
                    })?;
                    if is_one {
                        break;
                    }
                }
                continue;
            }
            let rest = self.message.get(at..end).ok_or(malformed)?;
            let length = field.length(data, rest).ok_or(malformed)?;
            let is_right = match field {
                Field::Bitmap => ascending(rest),
                Field::Parameters => parameters(rest),
                _ => true,
            };
            if !is_right {
                return Err(malformed);
            }
            at += length;
        }
        if at == end { Ok(()) } else { Err(malformed) }
    }

    fn mark(&mut self, at: usize) {
        if let Some(word) = self.labels.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn is_label(&self, at: usize) -> bool {
        self.labels.get(at / 64).is_some_and(|word| word & 1 << (at % 64) != 0)
    }

    /// The offset behind the name at `at`, which must lie before `end`.
    fn name(&mut self, at: usize, end: usize, may_point: bool) -> Result<usize, WireError> {
        let message = &self.message[..end];
        let mut here = at;
        loop {
            let length = *message.get(here).ok_or(WireError::Short(at))?;
            self.mark(here);
            match length {
                0 => return Ok(here + 1),
                1..=63 => here += 1 + usize::from(length),
                0xC0.. if may_point => {
                    let low = *message.get(here + 1).ok_or(WireError::Short(at))?;
                    self.follow(at, here - at, usize::from(length & 0x3F) << 8 | usize::from(low))?;
                    return Ok(here + 2);
                }
                _ => return Err(WireError::Label(at)),
            }
            // The root's label is still to come.
            if here - at >= MAX_NAME {
                return Err(WireError::Long(at));
            }
        }
    }

    /// Looks at the rest of the name at `at`, of which there are `length` bytes in front of a pointer to `target`.
    fn follow(&self, at: usize, mut length: usize, mut target: usize) -> Result<(), WireError> {
        // The labels that a pointer ends begin here, and it must lead to before them: so no message goes in circles.
        let mut run = at;
        for _ in 0..POINTERS {
            if target >= run || !self.is_label(target) {
                return Err(WireError::Pointer(at));
            }
            run = target;
            let mut here = target;
            loop {
                match *self.message.get(here).ok_or(WireError::Pointer(at))? {
                    0 if length < MAX_NAME => return Ok(()),
                    label @ 1..=63 if length < MAX_NAME => {
                        here += 1 + usize::from(label);
                        length += 1 + usize::from(label);
                    }
                    0..=63 => return Err(WireError::Long(at)),
                    high @ 0xC0.. => {
                        let low = *self.message.get(here + 1).ok_or(WireError::Pointer(at))?;
                        target = usize::from(high & 0x3F) << 8 | usize::from(low);
                        break;
                    }
                    _ => return Err(WireError::Label(at)),
                }
            }
        }
        Err(WireError::Pointer(at))
    }
}

/// Whether the windows of a bitmap of types ascend (RFC 4034 §4.1.2).
fn ascending(mut rest: &[u8]) -> bool {
    let mut next = 0;
    while let [window, length, tail @ ..] = rest {
        let Some(tail) = tail.get(usize::from(*length)..).filter(|_| u16::from(*window) >= next) else { return false };
        (next, rest) = (u16::from(*window) + 1, tail);
    }
    true
}

/// Whether service parameters ascend, and the values of those that are known are made as theirs (RFC 9460 §2.2, §7,
/// §8).
fn parameters(mut rest: &[u8]) -> bool {
    let mut next = 0;
    while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk() {
        let key = u16::from_be_bytes([a, b]);
        let Some((value, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes([c, d]))) else { return false };
        let is_made = match key {
            // mandatory: keys.
            0 => !value.is_empty() && value.len().is_multiple_of(2),
            // alpn: texts, none of them empty.
            1 => texts(value),
            // no-default-alpn, ohttp.
            2 | 8 => value.is_empty(),
            // port.
            3 => value.len() == 2,
            // ipv4hint, ipv6hint.
            4 => !value.is_empty() && value.len().is_multiple_of(4),
            6 => !value.is_empty() && value.len().is_multiple_of(16),
            _ => true,
        };
        if u32::from(key) < next || !is_made {
            return false;
        }
        (next, rest) = (u32::from(key) + 1, tail);
    }
    rest.is_empty()
}

/// Whether these are texts, one at least and none empty.
fn texts(mut rest: &[u8]) -> bool {
    let is_empty = rest.is_empty();
    while let [length, tail @ ..] = rest {
        let Some(tail) = tail.get(usize::from(*length)..).filter(|_| *length > 0) else { return false };
        rest = tail;
    }
    !is_empty
}

/// Whether the options of an OPT record fill it, and those that are known are made as they should.
fn options(mut rest: &[u8]) -> bool {
    while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk() {
        let Some((value, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes([c, d]))) else { return false };
        let length = value.len();
        let is_made = match u16::from_be_bytes([a, b]) {
            // RFC 7871 §6: a family, two prefix lengths, and so much of an address.
            option::SUBNET => match value {
                [0, 0, 0, ..] => true,
                [0, 1, source, scope, address @ ..] => *source <= 32 && *scope <= 32 && address.len() <= 4,
                [0, 2, source, scope, address @ ..] => *source <= 128 && *scope <= 128 && address.len() <= 16,
                _ => false,
            },
            option::EXPIRE => matches!(length, 0 | 4),
            option::COOKIE => matches!(length, 8 | 16..=40),
            option::TCP_KEEPALIVE => matches!(length, 0 | 2),
            option::EDE => length >= 2,
            _ => true,
        };
        if !is_made {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}
