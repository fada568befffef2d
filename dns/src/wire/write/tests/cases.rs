//! The same bytes as CoreDNS's library: cases that github.com/miekg/dns v1.1.72 wrote. A line of `cases.txt` has a
//! limit, a message in hexadecimal, and that message after `Truncate(limit)` and `Pack` with `Compress` set.
use std::fmt::Write as _;

use crate::wire::Message;

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn messages_are_compressed_and_cut_as_by_coredns() {
    let mut count = 0;
    let cases = match std::env::var("WIRE_CASES") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("cases.txt").to_owned(),
    };
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let [size, whole, cut] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let message = Message::read(&from_hex(whole)).unwrap();
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        assert_eq!(to_hex(&bytes), whole, "{message:?}");
        bytes.clear();
        message.write_limited(&mut bytes, size.parse().unwrap());
        let kept = |bytes: &[u8]| Message::read(bytes).unwrap().records().count();
        let theirs = from_hex(cut);
        assert_eq!(kept(&bytes), kept(&theirs), "limit {size} of {}: records that stay", whole.len() / 2);
        assert_eq!(to_hex(&bytes), cut, "limit {size}: {message:?}");
        count += 1;
    }
    assert!(count > 20);
}
