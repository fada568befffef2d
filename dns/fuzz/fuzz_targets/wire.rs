//! Any bytes as a message, a name and a zone file: no panic, and what is written or shown is read the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bowline_dns::wire::fuzz(bytes));
