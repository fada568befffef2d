//! What the plugin asks the agent, and what the agent says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::NetConf;
use crate::environment::Command;
use crate::error::CniError;
use crate::result::CniResult;

/// One call of a runtime. The open network namespace, if there is one, goes beside it ([`crate::wire`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do; never VERSION, which the plugin answers itself.
    pub command: Command,
    /// The container; empty for GC and STATUS.
    #[serde(default)]
    pub container_id: String,
    /// The interface's name in the container; empty for GC and STATUS.
    #[serde(default)]
    pub ifname: String,
    /// CNI_NETNS as the runtime spelled it: what `interfaces[].sandbox` of the result is. A path of the runtime's, which
    /// the agent need not be able to open.
    #[serde(default)]
    pub netns: Option<String>,
    /// CNI_ARGS.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// The W3C trace context that the runtime gave (TRACEPARENT), unread; 256 bytes at most.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The configuration. For DEL only what a removal needs is read ([`NetConf::for_removal`]).
    pub config: NetConf,
    /// ADD: what the plugin that `ipam` names has given out, if it is another one than ours.
    #[serde(default)]
    pub ipam: Option<CniResult>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done {
        /// Of an ADD: what the interface has. Of others none.
        result: Option<CniResult>,
    },
    /// It is not done, and nothing is left of it.
    Failed(CniError),
}

impl Reply {
    /// Done, without a result: DEL, CHECK, GC and STATUS.
    pub const DONE: Reply = Reply::Done { result: None };
}
