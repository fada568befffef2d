//! Kubernetes as a source, on a real API server: the battery, and the faults that servers have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]
#![allow(unreachable_pub, dead_code, reason = "battery and proxy are shared by test programs")]

#[path = "../battery/mod.rs"]
mod battery;
mod credentials;
mod crooked;
mod drift;
mod faults;
mod lists;
mod objects;
mod place;
#[path = "../etcd/proxy.rs"]
mod proxy;

// An API server takes no object that isn't well-formed, and makes endpoints not from Pods itself. What it has stored is
// served as far as it is understood (objects.rs).
battery::battery! {
    place::Site::new();
    the_first_update_is_all_there_is
    an_empty_place_is_synced_too
    changes_are_seen
    many_changes_at_once_all_arrive
    kinds_that_are_not_read_are_left_alone
    while_it_is_away_everything_stays_and_then_goes_on
    one_that_is_away_at_the_start_is_waited_for
    it_stops_when_asked
}
