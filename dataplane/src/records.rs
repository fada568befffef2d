//! Records to bytes and back, by a layout's description: the same code reads the maps of this layout and
//! of any other.

use bowline_ebpf::describe::{ABSENT, Description, FIELDS, Field};
use bowline_ebpf::layout::{NAME_BYTES, Name};
use bowline_ebpf::record::{Reader, Record, Value, Writer};

/// Reads and writes the records of one layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records(pub(crate) Description);

/// This build's layout.
pub(crate) const OURS: Records = Records(Description::OURS);

impl Records {
    /// The layout that a value of the map `layout` describes; None where it is not one.
    pub(crate) fn described_by(bytes: &[u8]) -> Option<Records> {
        let version = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let mut fields = [ABSENT; FIELDS];
        for (field, bytes) in fields.iter_mut().zip(bytes.get(8..)?.chunks_exact(2)) {
            *field = u16::from_ne_bytes([bytes[0], bytes[1]]);
        }
        (version != 0).then_some(Records(Description { version, pad: 0, fields }))
    }

    /// The value of the map `layout`.
    pub(crate) fn description(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 2 * FIELDS);
        bytes.extend(self.0.version.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.0.fields.iter().flat_map(|f| f.to_ne_bytes()));
        bytes
    }

    /// Offset of a field, or size of a record, in bytes.
    pub(crate) fn at(&self, field: Field) -> usize {
        self.0.at(field) as usize
    }

    /// The bytes of a record in this layout.
    pub(crate) fn bytes<R: Record>(&self, record: &R) -> Vec<u8> {
        let mut bytes = vec![0; self.at(R::SIZE)];
        record.write(&mut At { records: self, bytes: bytes.as_mut_slice() });
        bytes
    }

    /// A record of its bytes in this layout.
    pub(crate) fn read<R: Record>(&self, bytes: &[u8]) -> R {
        R::read(&At { records: self, bytes })
    }

    /// One field of a record; zero where the layout doesn't have it.
    pub(crate) fn get<T: Value>(&self, bytes: &[u8], field: Field) -> T {
        At { records: self, bytes }.get(field)
    }

    /// Bytes of a value of `names`; None where the text is too long.
    pub(crate) fn name(&self, text: &str) -> Option<Vec<u8>> {
        let mut room = [0; NAME_BYTES];
        room.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(self.bytes(&Name::new(text.len() as u32, room)))
    }

    /// A value of `names`. A layout may have more or less room for the text than this build.
    pub(crate) fn read_name(&self, bytes: &[u8]) -> Option<String> {
        let (at, length) = (self.at(Field::NameText), self.get::<u32>(bytes, Field::NameLength));
        let text = bytes.get(at..at.checked_add(length as usize)?)?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// The bytes of a record, and the layout that they have.
struct At<'a, B> {
    records: &'a Records,
    bytes: B,
}

impl Reader for At<'_, &[u8]> {
    fn get<T: Value>(&self, field: Field) -> T {
        let at = self.records.at(field);
        self.bytes.get(at..at + size_of::<T>()).map_or(T::ZERO, T::from_memory)
    }
}

impl Writer for At<'_, &mut [u8]> {
    fn put<T: Value>(&mut self, field: Field, value: T) {
        let at = self.records.at(field);
        if let Some(to) = self.bytes.get_mut(at..at + size_of::<T>()) {
            value.to_memory(to);
        }
    }
}

#[cfg(test)]
mod tests;
