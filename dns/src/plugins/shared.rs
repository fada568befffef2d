//! What several plugins use.

pub mod by_server;
pub mod format;
pub mod from_zone;
pub mod pattern;
