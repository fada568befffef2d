//! The DNS server: Corefile, plugins, answers compiled from the snapshot.
//!
//! ```text
//! corefile ─> server::Instance: servers, blocks, plugins          feed: the cluster's state ─> records: its answers
//! socket ─> server ─┬─ fast: plain questions, at once, no allocation
//!                   └─ query ─> plugin ─> plugin ─> … ─> reply
//! ```
pub mod address;
pub mod caught;
pub mod cookie;
pub mod corefile;
pub mod fast;
pub mod feed;
pub mod plugin;
pub mod plugins;
pub mod records;
pub mod reply;
pub mod server;
pub mod upstream;
pub mod wire;
pub mod zone;
