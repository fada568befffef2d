//! Variables of any bytes: no panic, and nothing passes that must not be part of a file's name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bowline_cni_protocol::fuzz::environment(bytes));
