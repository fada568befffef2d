//! What monitoring sees of a process: counters and their page, and the server of that page and others.

pub mod metrics;
pub mod pages;
