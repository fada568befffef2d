//! The message in a GET's query: `dns=` and base64url without padding (RFC 8484 §4.1, RFC 4648 §5).

/// The most bytes of a message in base64.
const MOST: usize = 65_535usize.div_ceil(3) * 4;

/// The message; None if there is none, or more than one, or it is not encoded so.
pub(super) fn message(query: &str) -> Option<Vec<u8>> {
    let mut found = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "dns" && found.replace(value).is_some() {
            return None;
        }
    }
    let found = found?;
    if found.len() > MOST { None } else { decode(found) }
}

/// Base64url without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Six bits left over are a letter too many.
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_8484_shows_is_read() {
        // RFC 8484 §4.1.1.
        let read = message("dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB").unwrap_or_default();
        assert_eq!((read.len(), &read[12..16]), (33, &b"\x03www"[..]));
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
        assert_eq!(message("a=b&dns="), Some(Vec::new()));
        for wrong in ["", "a=b", "dns=AAAA&dns=AAAA", "dns=AA==", "dns=A", "dns=AA+/"] {
            assert_eq!(message(wrong), None, "{wrong}");
        }
        assert_eq!(message(&format!("dns={}", "A".repeat(MOST + 1))), None);
    }
}
