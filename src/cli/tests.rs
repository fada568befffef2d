//! The definition of the arguments holds together.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use clap::CommandFactory;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_source_is_named_by_its_kind() {
    assert_eq!("files:/a".parse::<State>().unwrap(), State::Files("/a".into()));
    for wrong in ["files:", "/a", "etcd:http://a"] {
        assert!(wrong.parse::<State>().unwrap_err().contains("files:DIR"), "{wrong}");
    }
}
