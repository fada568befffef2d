//! A name as text in lower case, without an allocation: what patterns are matched against, on the fast way too.

use crate::wire::Name;

/// Room for a name of 255 bytes of which each is written as `\DDD`.
const ROOM: usize = 1024;

/// A name as text: lower case, with the final dot, escapes as in zone files.
pub struct NameText {
    text: [u8; ROOM],
    length: usize,
}

impl NameText {
    /// Of a name.
    pub fn of(name: &Name) -> NameText {
        NameText::of_wire(name.as_wire())
    }

    /// Of a name in wire form.
    pub fn of_wire(mut wire: &[u8]) -> NameText {
        let mut to = NameText { text: [0; ROOM], length: 0 };
        while let Some((length, rest)) = wire.split_first() {
            let Some((label, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
            if label.is_empty() {
                break;
            }
            for byte in label {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => to.push(&[b'\\', *byte]),
                    b'!'..=b'~' => to.push(&[byte.to_ascii_lowercase()]),
                    _ => to.push(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]),
                }
            }
            to.push(b".");
            wire = rest;
        }
        if to.length == 0 {
            to.push(b".");
        }
        to
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(free) = self.text.get_mut(self.length..self.length + bytes.len()) {
            free.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // All of it is ASCII.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    //! It is the text that names show themselves.
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn it_is_what_a_name_shows() {
        let longest = Name::from_wire(&[&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat()).unwrap();
        let odd = Name::from_wire(b"\x05\x00\xff. @\x02Ab\x00").unwrap();
        for name in [Name::root(), Name::parse("Www.Example.org.").unwrap(), odd, longest] {
            assert_eq!(NameText::of(&name).as_str(), name.to_lower().to_string());
        }
        let widest =
            Name::from_wire(&[&[63][..], &[0; 63], &[63], &[0; 63], &[63], &[0; 63], &[61], &[0; 61], &[0]].concat());
        let widest = widest.unwrap();
        assert_eq!(NameText::of(&widest).as_str(), widest.to_string());
    }
}
