//! Bytes of a manifest into objects.
