//! Configurations and results of any bytes: no panic, and the agent gets what the plugin read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bowline_cni_protocol::fuzz::input(bytes));
