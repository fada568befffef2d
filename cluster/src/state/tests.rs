//! Tests of State.
