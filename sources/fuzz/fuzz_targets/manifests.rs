//! Manifests of any bytes: no panic, and the same objects each time.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| bowline_sources::parse::fuzz(text));
