//! What must be known of a certificate beyond what rustls tells, read from its DER form (RFC 5280 §4.1), of any
//! version.

use rustls::crypto::CryptoProvider;

/// A certificate's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    /// From 1 on. Only version 3 has extensions.
    pub(super) version: u8,
    /// From when to when it is good, in seconds since 1970.
    pub(super) valid: (u64, u64),
    /// The last common name of its subject.
    pub(super) common_name: Option<&'a str>,
    /// The public key, whole.
    pub(super) public: &'a [u8],
    /// The key's kind, as rustls names it: without its outer sequence.
    pub(super) algorithm: &'a [u8],
    /// The bits of the key.
    pub(super) key: &'a [u8],
    /// It names what it is for (subjectAltName).
    pub(super) has_names: bool,
    /// It may be a server's: it doesn't say what it is for, or says so.
    pub(super) is_for_servers: bool,
    /// It may be a client's.
    pub(super) is_for_clients: bool,
}

mod tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BITS: u8 = 0x03;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const OBJECT: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const VERSION: u8 = 0xA0;
    pub(super) const EXTENSIONS: u8 = 0xA3;
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 17];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 37];
const SERVER_AUTH: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 2];
const ANY_USAGE: &[u8] = &[0x55, 0x1D, 37, 0];

/// What is left to read.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag, the contents, and the whole of the next value.
    fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // More than 16 MiB is no certificate.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((tag, contents, whole))
    }

    /// The contents of the next value, if its tag is this one.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        if *self.0.first()? != tag {
            return None;
        }
        self.any().map(|(_, contents, _)| contents)
    }

    fn nested(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.next(tag).map(Reader)
    }
}

impl<'a> Certificate<'a> {
    /// Reads one; None if it is none.
    pub(super) fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut body = Reader(der).nested(tag::SEQUENCE)?.nested(tag::SEQUENCE)?;
        let version = match body.nested(tag::VERSION) {
            Some(mut version) => version.next(tag::INTEGER)?.last()?.checked_add(1)?,
            None => 1,
        };
        body.next(tag::INTEGER)?; // The serial number.
        body.next(tag::SEQUENCE)?; // How it is signed.
        body.next(tag::SEQUENCE)?; // Who has.
        let mut validity = body.nested(tag::SEQUENCE)?;
        let valid = (time(&mut validity)?, time(&mut validity)?);
        let common_name = common_name(body.nested(tag::SEQUENCE)?);
        let (_, key, public) = body.any().filter(|(tag, ..)| *tag == tag::SEQUENCE)?;
        let mut key = Reader(key);
        let algorithm = key.next(tag::SEQUENCE)?;
        // No bits are unused.
        let key = key.next(tag::BITS)?.strip_prefix(&[0])?;
        let (mut has_names, mut is_for_servers, mut is_for_clients) = (false, true, true);
        // Unique identifiers may stand in front of them.
        while let Some((tag, contents, _)) = body.any() {
            if tag == tag::EXTENSIONS {
                let mut extensions = Reader(contents).nested(tag::SEQUENCE)?;
                while let Some(mut extension) = extensions.nested(tag::SEQUENCE) {
                    let object = extension.next(tag::OBJECT)?;
                    extension.next(tag::BOOLEAN);
                    let value = extension.next(tag::OCTETS)?;
                    has_names |= object == SUBJECT_ALT_NAME;
                    if object == EXTENDED_KEY_USAGE {
                        let usages = Reader(value).nested(tag::SEQUENCE)?;
                        (is_for_servers, is_for_clients) = (is_for(SERVER_AUTH, usages), is_for(CLIENT_AUTH, usages));
                    }
                }
            }
        }
        let found = Certificate {
            version,
            valid,
            common_name,
            public,
            algorithm,
            key,
            has_names,
            is_for_servers,
            is_for_clients,
        };
        Some(found)
    }

    /// Why it is not good at this time.
    pub(super) fn untimely(&self, now: u64) -> Option<String> {
        let (from, to) = self.valid;
        if now > to {
            return Some(format!("has expired on {}; make a new one", day(to)));
        }
        (now < from).then(|| format!("is not good before {}; is this host's clock right?", day(from)))
    }

    /// Its name in messages, with a blank behind; nothing if it has none.
    pub(super) fn shown(&self) -> String {
        self.common_name.map_or_else(String::new, |name| format!("{name:?} "))
    }

    /// Whether what this key signs can be checked.
    pub(super) fn has_known_key(&self, provider: &CryptoProvider) -> bool {
        let known = provider.signature_verification_algorithms.all;
        known.iter().any(|known| known.public_key_alg_id().as_ref() == self.algorithm)
    }
}

fn common_name(mut names: Reader<'_>) -> Option<&str> {
    let mut found = None;
    while let Some(mut set) = names.nested(tag::SET) {
        while let Some(mut pair) = set.nested(tag::SEQUENCE) {
            if pair.next(tag::OBJECT) == Some(COMMON_NAME) {
                found = pair.any().and_then(|(_, text, _)| std::str::from_utf8(text).ok());
            }
        }
    }
    found
}

fn is_for(wanted: &[u8], mut usages: Reader<'_>) -> bool {
    while let Some(usage) = usages.next(tag::OBJECT) {
        if usage == wanted || usage == ANY_USAGE {
            return true;
        }
    }
    false
}

/// A moment, in seconds since 1970; those before that are 0.
fn time(from: &mut Reader<'_>) -> Option<u64> {
    let (tag, text, _) = from.any()?;
    let digits = text.strip_suffix(b"Z")?;
    let mut digits = digits.iter().map(|digit| digit.is_ascii_digit().then(|| u64::from(digit - b'0')));
    let mut two = || Some(digits.next()?? * 10 + digits.next()??);
    let year = match tag {
        // RFC 5280 §4.1.2.5.1.
        tag::UTC_TIME => two().map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
        tag::TIME => two()? * 100 + two()?,
        _ => return None,
    };
    let (month, day, hour, minute, second) = (two()?, two()?, two()?, two()?, two()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days(year, month, day).saturating_sub(days(1970, 1, 1));
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1 March of the year 0, which ends with its leap day.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1
}

/// A day, as people write it.
fn day(seconds: u64) -> String {
    let wanted = seconds / 86_400 + days(1970, 1, 1);
    // The last year, month and day that are not later.
    let last = |range: std::ops::RangeInclusive<u64>, of: &dyn Fn(u64) -> u64| {
        range.rev().find(|one| of(*one) <= wanted).unwrap_or(1)
    };
    let guess = wanted / 365 + 1;
    let year = last(guess.saturating_sub(30)..=guess, &|year| days(year, 1, 1));
    let month = last(1..=12, &|month| days(year, month, 1));
    format!("{year}-{month:02}-{:02}", wanted.saturating_sub(days(year, month, 1)) + 1)
}
