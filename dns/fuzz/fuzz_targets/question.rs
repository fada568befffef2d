//! Any bytes as a question: what the fast way takes the long way reads alike, and its answer is a message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bowline_dns::fast::fuzz(bytes));
