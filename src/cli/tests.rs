//! The definition of the arguments holds together.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use clap::CommandFactory;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}
