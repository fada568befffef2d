//! Any bytes as a Corefile, a template of NodeLocal DNSCache, and a manifest of kube-dns: no panic, and the same each time.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bowline_dns::corefile::fuzz(bytes));
