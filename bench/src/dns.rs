//! DNS servers, measured.
//!
//! ```text
//! load   asks a server as many clients do, and checks every answer
//! ```

pub(crate) mod load;
