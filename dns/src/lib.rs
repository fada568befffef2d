//! The DNS server: Corefile, plugins, answers compiled from the snapshot.
pub mod corefile;
pub mod wire;
