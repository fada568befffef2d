//! The digest of a Corefile as it was parsed, by which a reload notices a change.
//!
//! It is SHA-512 over the server blocks in JSON as Go writes it, so that `coredns_reload_version_info` has
//! the value that CoreDNS would show.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::stream::Word;

/// The server blocks, as they are parsed.
#[derive(Default)]
pub(super) struct Digest {
    json: String,
    block: BTreeMap<String, String>,
}

impl Digest {
    /// Adds a word to a directive of the block. `text`: the word as CoreDNS keeps it.
    pub(super) fn add(&mut self, directive: &str, word: &Word, text: &str) {
        if !self.block.contains_key(directive) {
            self.block.insert(directive.to_string(), String::new());
        }
        let Some(tokens) = self.block.get_mut(directive) else { return };
        tokens.push_str(if tokens.is_empty() { "{\"File\":" } else { ",{\"File\":" });
        quote(&word.token_file, tokens);
        let _ = write!(tokens, ",\"Line\":{},\"Text\":", word.place.line);
        quote(text, tokens);
        tokens.push('}');
    }

    /// Ends the block.
    pub(super) fn end_block<'a>(&mut self, keys: impl Iterator<Item = &'a str>) {
        self.json.push_str(if self.json.is_empty() { "[{\"Keys\":[" } else { ",{\"Keys\":[" });
        for (index, key) in keys.enumerate() {
            self.json.push_str(if index == 0 { "" } else { "," });
            quote(key, &mut self.json);
        }
        self.json.push_str("],\"Tokens\":{");
        for (index, (directive, tokens)) in std::mem::take(&mut self.block).into_iter().enumerate() {
            self.json.push_str(if index == 0 { "" } else { "," });
            quote(&directive, &mut self.json);
            self.json.push_str(":[");
            self.json.push_str(&tokens);
            self.json.push(']');
        }
        self.json.push_str("}}");
    }

    /// The digest, in hexadecimal.
    pub(super) fn finish(mut self) -> String {
        self.json.push(']');
        let digest = ring::digest::digest(&ring::digest::SHA512, self.json.as_bytes());
        digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// A JSON string, with the escapes that Go's encoder chooses.
fn quote(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
}
