//! Writing a message: names compressed, and records left out that don't fit, both as CoreDNS's library does it.
mod compress;
#[cfg(test)]
mod tests;

use super::message::HEADER;
use super::record::MAX_DATA;
use super::{Data, Edns, Message, Name, Record, Type, layout};
use compress::Compressor;
use layout::Field;

/// The smallest limit that counts (RFC 6891 §6.2.3).
const SMALLEST: usize = 512;

impl Message {
    /// Appends the message in wire form. Owners and the names of RFC 1035's types are compressed.
    /// A section keeps at most its first 65535 records.
    pub fn write(&self, to: &mut Vec<u8>) {
        self.write_within(to, usize::MAX);
    }

    /// Appends the message in wire form, with records left out from the end until it has at most `size` bytes
    /// (512 if `size` is less), and then with TC set. The OPT record always stays; a message with a TSIG record is
    /// written whole. What stays is what stays in CoreDNS.
    pub fn write_limited(&self, to: &mut Vec<u8>, size: usize) {
        let is_signed = self.additionals.last().is_some_and(is_signature);
        let size = size.max(SMALLEST);
        if is_signed || self.length() <= size {
            self.write_within(to, usize::MAX);
        } else {
            self.write_within(to, size);
        }
    }

    /// The length without compression, as CoreDNS's library estimates it.
    pub(crate) fn length(&self) -> usize {
        let opt = self.edns.as_ref().map_or(0, |edns| plain_length(&edns.to_record()));
        let questions: usize = self.questions.iter().map(|question| question.name.as_wire().len() + 4).sum();
        HEADER + questions + opt + self.records().map(|record| plain_length(record) + excess(record)).sum::<usize>()
    }

    /// Writes what fits into `size` bytes.
    fn write_within(&self, to: &mut Vec<u8>, size: usize) {
        let opt = self.edns.as_ref().map(Edns::to_record);
        let mut writer = Writer::new(to, size.saturating_sub(opt.as_ref().map_or(0, plain_length)));
        writer.to.extend_from_slice(&self.id.to_be_bytes());
        writer.to.extend_from_slice(&self.flags.0.to_be_bytes());
        writer.to.extend_from_slice(&[0; 8]);
        let mut counts = [0; 4];
        for question in self.questions.iter().take(usize::from(u16::MAX)) {
            writer.name(&question.name, true);
            writer.to.extend_from_slice(&question.rtype.0.to_be_bytes());
            writer.to.extend_from_slice(&question.class.0.to_be_bytes());
            counts[0] += 1;
        }
        // The OPT record stands last, but a signature covers all in front of it.
        let signed = self.additionals.len() - usize::from(self.additionals.last().is_some_and(is_signature));
        let (additionals, signature) = self.additionals.split_at(signed);
        counts[1] = writer.section(&self.answers);
        counts[2] = writer.section(&self.authorities);
        counts[3] = writer.section(additionals);
        let is_cut = usize::from(counts[1]) < self.answers.len()
            || usize::from(counts[2]) < self.authorities.len()
            || usize::from(counts[3]) < additionals.len();
        if let Some(opt) = opt.filter(|_| counts[3] < u16::MAX) {
            writer.record(&opt);
            counts[3] += 1;
        }
        counts[3] = counts[3].saturating_add(writer.section(signature));
        let start = writer.start;
        if let Some(header) = to.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<HEADER>) {
            if is_cut {
                header[2..4].copy_from_slice(&self.flags.with_tc(true).0.to_be_bytes());
            }
            for (at, count) in header[4..].chunks_exact_mut(2).zip(counts) {
                at.copy_from_slice(&count.to_be_bytes());
            }
        }
    }
}

/// A message on its way into bytes.
struct Writer<'a> {
    to: &'a mut Vec<u8>,
    /// Where the message begins in `to`.
    start: usize,
    compressor: Compressor,
    /// The most bytes; 0 once a record didn't fit, so that none follows it.
    limit: usize,
    /// By how much CoreDNS's library overrates what is written.
    excess: usize,
}

impl Writer<'_> {
    fn new(to: &mut Vec<u8>, limit: usize) -> Writer<'_> {
        Writer { start: to.len(), to, compressor: Compressor::default(), limit, excess: 0 }
    }

    /// The length so far, as CoreDNS's library estimates it.
    fn length(&self) -> usize {
        self.to.len() - self.start + self.excess
    }

    /// Writes the records that fit; gives how many.
    fn section(&mut self, records: &[Record]) -> u16 {
        let mut count = 0;
        for record in records.iter().take(usize::from(u16::MAX)) {
            if self.length() >= self.limit {
                break;
            }
            let before = self.to.len();
            self.record(record);
            if self.limit == usize::MAX {
                count += 1;
                continue;
            }
            self.excess += excess(record);
            if self.length() > self.limit {
                // Nothing is written with compression behind this, so names in what is taken back do no harm.
                self.to.truncate(before);
                self.limit = 0;
                break;
            }
            count += 1;
        }
        count
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.name, true);
        self.to.extend_from_slice(&record.rtype.0.to_be_bytes());
        self.to.extend_from_slice(&record.class.0.to_be_bytes());
        self.to.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = self.to.len();
        self.to.extend_from_slice(&[0, 0]);
        self.data(record.rtype, &record.data);
        // Data has at most 65535 bytes, and compression only shortens it.
        let length = (self.to.len() - length_at - 2).min(MAX_DATA) as u16;
        if let Some(at) = self.to.get_mut(length_at..length_at + 2) {
            at.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Writes data; its names are remembered for later ones, and compressed in the types that allow it.
    fn data(&mut self, rtype: Type, data: &Data) {
        let bytes = data.as_bytes();
        let mut at = 0;
        let fields = layout::fields(rtype).filter(|fields| layout::has_names(fields));
        for field in fields.unwrap_or_default() {
            let Some(length) = field.extent(bytes, at) else { break };
            let end = at + length;
            if field.is_name(bytes) {
                while at < end {
                    let Ok((name, after)) = Name::read(bytes, at) else { break };
                    self.name(&name, *field == Field::ShortName);
                    at = after;
                }
            } else {
                self.to.extend_from_slice(bytes.get(at..end).unwrap_or_default());
                at = end;
            }
        }
        // Data that isn't made as its type asks is written as it is.
        self.to.extend_from_slice(bytes.get(at..).unwrap_or_default());
    }

    fn name(&mut self, name: &Name, compress: bool) {
        self.compressor.write(self.to, self.start, name, compress);
    }
}

fn is_signature(record: &Record) -> bool {
    record.rtype == Type::TSIG
}

/// The length of a record without compression.
fn plain_length(record: &Record) -> usize {
    record.name.as_wire().len() + 10 + record.data.as_bytes().len()
}

/// By how many bytes CoreDNS's library overrates a record: it measures texts with their escapes in them, base64 with
/// its padding, and prefixes with the zero bytes that aren't written.
fn excess(record: &Record) -> usize {
    let data = record.data.as_bytes();
    let mut excess = 0;
    let mut at = 0;
    for field in layout::fields(record.rtype).unwrap_or_default() {
        let rest = data.get(at..).unwrap_or_default();
        let length = field.extent(data, at).unwrap_or(rest.len());
        let bytes = rest.get(..length).unwrap_or_default();
        excess += match field {
            Field::Text | Field::Word => escapes(bytes.get(1..).unwrap_or_default()),
            Field::Texts => texts(bytes).map(escapes).sum(),
            Field::Base64 => (3 - bytes.len() % 3) % 3,
            // In base32, and 2 bytes more.
            Field::Hash => (bytes.len().saturating_sub(1) * 8).div_ceil(5) + 3 - bytes.len(),
            Field::Prefixes => prefixes(bytes),
            _ => 0,
        };
        at += length;
    }
    excess
}

/// The character-strings in bytes.
pub(super) fn texts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some(text)
    })
}

/// How many bytes the escapes of a text add.
fn escapes(text: &[u8]) -> usize {
    let added = |byte: &u8| match byte {
        b'"' | b'\\' => 1,
        b' '..=b'~' => 0,
        _ => 3,
    };
    text.iter().map(added).sum()
}

/// How many zero bytes of prefixes are left out.
fn prefixes(mut bytes: &[u8]) -> usize {
    let mut sum = 0_usize;
    while let [_, _, length, marked, rest @ ..] = bytes {
        let written = usize::from(marked & 0x7F);
        sum += usize::from(*length).div_ceil(8).saturating_sub(written);
        bytes = rest.get(written..).unwrap_or_default();
    }
    sum
}
