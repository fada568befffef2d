//! A domain name in wire form: the labels, each behind its length, and the root's empty one.
mod labels;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use super::WireError;
pub use labels::Labels;
pub(super) use text::unescape;

/// The longest name in bytes, root label included (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// The longest label in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// A domain name in wire form: no pointers, root label included, at most 255 bytes, letter case kept.
/// Equality, order (RFC 4034 §6.1) and hash ignore the case of ASCII letters.
#[derive(Clone)]
pub struct Name(SmallVec<[u8; 64]>);

/// Why a name can't be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// No text at all; the root is written ".".
    #[error("the name is empty; the root is written \".\"")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("the name has a label of more than 63 bytes")]
    LongLabel,
    /// More than 255 bytes in wire form.
    #[error("the name is longer than 255 bytes in wire form")]
    Long,
    /// A backslash at the end, or a number above 255 behind it.
    #[error("the name has a malformed escape; write \\X or \\DDD with DDD at most 255")]
    Escape,
    /// Bytes that aren't labels up to one root label.
    #[error("the bytes aren't one uncompressed name")]
    Malformed,
}

impl Name {
    /// The root, ".".
    pub fn root() -> Name {
        Name(SmallVec::from_slice(&[0]))
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Takes a whole slice that is one uncompressed name.
    ///
    /// # Errors
    /// If it isn't: pointers, bytes behind the root label, more than 255 bytes.
    pub fn from_wire(bytes: &[u8]) -> Result<Name, NameError> {
        if bytes.len() > MAX_NAME {
            return Err(NameError::Long);
        }
        let mut at = 0;
        loop {
            match bytes.get(at) {
                Some(0) if at + 1 == bytes.len() => return Ok(Name(SmallVec::from_slice(bytes))),
                Some(&length) if length != 0 && usize::from(length) <= MAX_LABEL => at += 1 + usize::from(length),
                _ => return Err(NameError::Malformed),
            }
        }
    }

    /// Reads the name at `at` of a message, following pointers. Each pointer must lead to before the labels it ends,
    /// so no message makes this turn in circles. Gives the name and the offset just after it.
    ///
    /// # Errors
    /// If there is no whole name at `at`, or it is longer than 255 bytes.
    pub fn read(message: &[u8], at: usize) -> Result<(Name, usize), WireError> {
        let mut name = SmallVec::new();
        // Labels that lie together are copied together.
        let (mut run, mut here) = (at, at);
        let mut after = None;
        loop {
            let length = *message.get(here).ok_or(WireError::Short(at))?;
            let end = match length {
                0 => here + 1,
                1..=63 => here + 1 + usize::from(length),
                0xC0.. => here,
                _ => return Err(WireError::Label(at)),
            };
            if name.len() + (end - run) > MAX_NAME {
                return Err(WireError::Long(at));
            }
            if (1..=63).contains(&length) {
                here = end;
                continue;
            }
            name.extend_from_slice(message.get(run..end).ok_or(WireError::Short(at))?);
            if length == 0 {
                return Ok((Name(name), after.unwrap_or(end)));
            }
            let low = *message.get(here + 1).ok_or(WireError::Short(at))?;
            after.get_or_insert(here + 2);
            let target = usize::from(length & 0x3F) << 8 | usize::from(low);
            if target >= run {
                return Err(WireError::Pointer(at));
            }
            (run, here) = (target, target);
        }
    }

    /// The wire form, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the left, without the root's.
    pub fn labels(&self) -> Labels<'_> {
        Labels::new(self.0.split_last().map_or(&[], |(_, front)| front))
    }

    /// How many labels it has; the root has none.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its first label; the root has no parent.
    pub fn parent(&self) -> Option<Name> {
        let first = usize::from(*self.0.first()?);
        if first == 0 { None } else { self.tail(1 + first) }
    }

    /// Whether it equals `zone` or lies below it.
    pub fn is_within(&self, zone: &Name) -> bool {
        self.before(zone).is_some()
    }

    /// The labels in front of `zone` in wire form, without a root label; none if it isn't within.
    pub fn before(&self, zone: &Name) -> Option<&[u8]> {
        let front = self.0.len().checked_sub(zone.0.len())?;
        let (head, tail) = self.0.split_at(front);
        if !tail.eq_ignore_ascii_case(&zone.0) {
            return None;
        }
        // The tail must begin where a label does.
        let mut at = 0;
        while at < front {
            at += 1 + usize::from(*self.0.get(at)?);
        }
        (at == front).then_some(head)
    }

    /// The last `labels` labels; the whole name if it has no more.
    pub fn suffix(&self, labels: usize) -> Name {
        let drop = self.label_count().saturating_sub(labels);
        let skipped: usize = self.labels().take(drop).map(|label| 1 + label.len()).sum();
        self.tail(skipped).unwrap_or_default()
    }

    /// The name with `label` in front.
    ///
    /// # Errors
    /// If the label is empty or longer than 63 bytes, or the name becomes longer than 255 bytes.
    pub fn prepend(&self, label: &[u8]) -> Result<Name, NameError> {
        let length = match u8::try_from(label.len()) {
            Ok(0) => return Err(NameError::EmptyLabel),
            Ok(length) if label.len() <= MAX_LABEL => length,
            _ => return Err(NameError::LongLabel),
        };
        let mut wire = SmallVec::from_slice(&[length]);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        if wire.len() > MAX_NAME { Err(NameError::Long) } else { Ok(Name(wire)) }
    }

    /// Puts labels (in wire form, without a root label) in front of a zone.
    ///
    /// # Errors
    /// If `front` isn't made of labels, or the name becomes longer than 255 bytes.
    pub fn join(front: &[u8], zone: &Name) -> Result<Name, NameError> {
        let mut at = 0;
        while let Some(&length) = front.get(at) {
            if length == 0 || usize::from(length) > MAX_LABEL {
                return Err(NameError::Malformed);
            }
            at += 1 + usize::from(length);
        }
        if at != front.len() {
            return Err(NameError::Malformed);
        }
        if at + zone.0.len() > MAX_NAME {
            return Err(NameError::Long);
        }
        let mut wire = SmallVec::from_slice(front);
        wire.extend_from_slice(&zone.0);
        Ok(Name(wire))
    }

    /// The name with its ASCII letters made small.
    pub fn to_lower(&self) -> Name {
        let mut lower = self.clone();
        // A length is at most 63, so it is never taken for a letter.
        lower.0.make_ascii_lowercase();
        lower
    }

    /// Equality with the case of letters.
    pub fn eq_exact(&self, other: &Name) -> bool {
        self.0 == other.0
    }

    /// The rest from a label's start.
    fn tail(&self, from: usize) -> Option<Name> {
        self.0.get(from..).map(|rest| Name(SmallVec::from_slice(rest)))
    }
}

impl Default for Name {
    fn default() -> Name {
        Name::root()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut lower = [0; MAX_NAME];
        let length = self.0.len().min(MAX_NAME);
        for (to, from) in lower.iter_mut().zip(&self.0) {
            *to = from.to_ascii_lowercase();
        }
        state.write(&lower[..length]);
    }
}

impl Ord for Name {
    /// RFC 4034 §6.1: by labels from the right, each as lower-case bytes.
    fn cmp(&self, other: &Name) -> Ordering {
        let (mut ours, mut theirs) = (self.labels().rev(), other.labels().rev());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(a), Some(b)) => {
                    let order = a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
            }
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
