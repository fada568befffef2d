//! etcd as a source, on real servers: the battery, and the faults that servers have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]
#![allow(unreachable_pub, reason = "the battery is shared by test programs")]

#[path = "../battery/mod.rs"]
mod battery;
mod changes;
mod drift;
mod faults;
mod login;
mod place;
mod proxy;
mod tls;

battery::battery!(place::Site::new());

/// The same on the etcd that Debian 12 has.
mod system {
    use crate::{battery, place};

    battery::battery!(place::Site::system());
}
