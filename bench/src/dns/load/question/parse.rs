//! The file of questions, read.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::{FromStr, SplitAsciiWhitespace};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{A, AAAA, CNAME, MOST, NS, PTR, Question, SRV, TXT};

/// Types by name; others as `TYPE99`.
const TYPES: &[(&str, u16)] = &[
    ("A", A),
    ("NS", NS),
    ("CNAME", CNAME),
    ("SOA", 6),
    ("PTR", PTR),
    ("MX", 15),
    ("TXT", TXT),
    ("AAAA", AAAA),
    ("SRV", SRV),
    ("HTTPS", 65),
    ("ANY", 255),
];

const RCODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// Stands for another letter each time, of 'p' to 'w'.
const ANY: u8 = b'?';
/// The bit of a letter's case.
const CASE: u8 = 0x20;

/// Reads a file of questions.
///
/// # Errors
/// A line that is none, with its number; no question at all.
pub(in super::super) fn parse(text: &str) -> Result<Vec<Question>> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or_default()));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let questions: Vec<_> =
        lines.map(|(number, line)| question(line).with_context(|| format!("line {number}"))).collect::<Result<_>>()?;
    ensure!(!questions.is_empty(), "no questions");
    Ok(questions)
}

fn question(line: &str) -> Result<Question> {
    let mut words = line.split_ascii_whitespace();
    let mut next = || words.next().context("a line is: name type rcode [data...]");
    let (name, rtype_text, rcode) = (next()?, next()?, next()?);
    let known = TYPES.iter().find(|(text, _)| *text == rtype_text).map(|(_, value)| *value);
    let rtype = match known {
        Some(known) => known,
        None => rtype_text
            .strip_prefix("TYPE")
            .and_then(|n| n.parse().ok())
            .with_context(|| format!("no type: {rtype_text}"))?,
    };
    let rcode = RCODES.iter().position(|text| *text == rcode).with_context(|| format!("no rcode: {rcode}"))? as u8;
    let mut data = Vec::new();
    while let Some(first) = words.next() {
        data.push(record(rtype, first, &mut words).with_context(|| format!("data of {rtype_text}: {first}"))?);
    }
    ensure!(data.len() <= MOST, "more than {MOST} records");

    let mut bytes = wire_name(name)?;
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    let length = bytes.len();
    bytes.resize(length.next_multiple_of(8), 0);
    let varied = vary(&mut bytes);
    Ok(Question {
        text: format!("{name} {rtype_text}"),
        words: whole_words(&bytes),
        varied: whole_words(&varied),
        length,
        rtype,
        rcode,
        data,
    })
}

/// The bits of a name in wire form that vary; a letter takes the place of each `?`.
fn vary(bytes: &mut [u8]) -> Vec<u8> {
    let mut varied = vec![0; bytes.len()];
    let mut label = 0;
    for (byte, varied) in bytes.iter_mut().zip(&mut varied) {
        match (label, *byte) {
            (0, 0) => break,
            (0, length) => label = length + 1,
            (_, ANY) => (*byte, *varied) = (b'p', CASE | 7),
            (_, letter) if letter.is_ascii_alphabetic() => *varied = CASE,
            _ => {}
        }
        label -= 1;
    }
    varied
}

fn whole_words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// A record's data in wire form.
fn record(rtype: u16, first: &str, rest: &mut SplitAsciiWhitespace<'_>) -> Result<Vec<u8>> {
    Ok(match rtype {
        A => Ipv4Addr::from_str(first)?.octets().to_vec(),
        AAAA => Ipv6Addr::from_str(first)?.octets().to_vec(),
        NS | CNAME | PTR => wire_name(first)?,
        SRV => {
            let mut next = || rest.next().context("SRV has priority, weight, port and target");
            let numbers: [u16; 3] = [first.parse()?, next()?.parse()?, next()?.parse()?];
            let mut data: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            data.extend(wire_name(next()?)?);
            data
        }
        TXT => {
            let length = u8::try_from(first.len()).map_err(|_| anyhow!("more than 255 bytes"))?;
            [&[length], first.as_bytes()].concat()
        }
        _ => bail!("can't be checked"),
    })
}

/// A name without escapes in wire form, lower-case.
fn wire_name(text: &str) -> Result<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.strip_suffix('.').unwrap_or(text).split('.').filter(|_| text != ".") {
        ensure!((1..64).contains(&label.len()) && !label.contains('\\'), "no name: {text}");
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    ensure!(wire.len() <= 255, "a name longer than 255 bytes: {text}");
    Ok(wire)
}
