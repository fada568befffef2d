//! What a container runtime, Bowline's CNI plugin and the agent say to each other.
//!
//! A runtime starts the plugin with variables ([`Environment`]) and a configuration on its standard input ([`NetConf`]).
//! The plugin hands both to the agent of the node as one [`Request`], with the open network namespace beside it, and
//! prints the [`Reply`]: a [`CniResult`], or a [`CniError`]. Both ends of that socket are in [`wire`]. What was to be
//! removed while no agent answered stands as a file in a folder that the agent reads when it starts ([`tombstone`]).
//!
//! The types follow the CNI specification 1.1.0 and speak all versions from 0.1.0 ([`Version`]). Nothing here knows the
//! agent: the plugin links this crate and no other of Bowline's.

mod config;
mod environment;
mod error;
mod fields;
#[doc(hidden)]
pub mod fuzz;
mod names;
mod request;
mod result;
mod runtime;
pub mod tombstone;
mod version;
pub mod wire;

pub use config::{Attachment, Ipam, NetConf};
pub use environment::{Command, Environment};
pub use error::CniError;
pub use fields::FieldError;
pub use names::{is_id, is_interface_name};
pub use request::{Reply, Request};
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use runtime::{Bandwidth, IpRange, Mac, PortMapping, Protocol, RuntimeConfig};
pub use version::Version;

/// Where the agent listens if the configuration's `socket` names no other place.
pub const DEFAULT_SOCKET: &str = "/run/bowline/cni.sock";

/// The folder of tombstones if the configuration's `tombstones` names no other.
pub const DEFAULT_TOMBSTONES: &str = "/var/lib/bowline/cni/tombstones";

/// How many bytes a message on the socket, or a configuration on standard input, may have.
pub const MAX_MESSAGE: usize = 1 << 20;
