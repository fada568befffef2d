//! Pods' network on a node, as its agent has it: what the CNI plugin asks for, addresses, wires, and the way to the pods of
//! other nodes.
//!
//! ```text
//! runtime ─> bowline-cni ─ socket ─> server ─> pods ─┬─ addresses   which are given        (memory)
//!                                                    ├─ log         what is attached       (disk)
//!                                                    ├─ wiring      links, routes          (kernel)
//!                                                    └─ datapath    programs for packets   (the agent's)
//! Nodes ─> peers ─> routes and tunnels to other nodes; the node's own networks
//! install: the plugin and its configuration, where the runtime looks
//! ```

pub mod addresses;
pub mod attachment;
pub mod check;
pub mod cleanup;
pub mod datapath;
pub mod flannel;
pub mod host_local;
pub mod install;
mod log;
pub mod network;
pub mod peers;
pub mod pods;
pub mod ready;
pub mod server;
mod sysctls;
pub mod view;
mod wiring;

pub use wiring::{GATEWAY, GATEWAY6};
