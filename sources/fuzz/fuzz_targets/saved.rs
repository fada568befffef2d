//! Saved snapshots of any bytes, also with a checksum that is right: no panic, and what was saved is what is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| bowline_sources::saved::fuzz(text));
