//! Zone files.
