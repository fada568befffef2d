//! Decisions against a model of the maps.
