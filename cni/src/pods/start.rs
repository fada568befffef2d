//! What is on this node at a start: by the log, by the links that are there, and by what the kernel's programs know.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bowline_net::{Link, Net};

use super::shape::tell_datapath;
use super::{Listener, Pods, State};
use crate::addresses::Pool;
use crate::attachment::{Attachment, Key, PREFIX};
use crate::datapath::Datapath;
use crate::host_local;
use crate::log::{Log, Stage};
use crate::ready::Ready;

impl Pods {
    /// What is on this node. Takes away what was half made, and what was to go. Runs in the node's network namespace.
    /// `folder` is that of the log, `host_local` where the network before this one has its addresses ([`crate::host_local`]).
    ///
    /// # Errors
    /// The log or the kernel can't be used.
    pub fn open(
        folder: &Path,
        host_local: &Path,
        datapath: Arc<dyn Datapath>,
        ready: Arc<Ready>,
        listener: Listener,
    ) -> io::Result<Pods> {
        let path = folder.join("attachments.log");
        let (log, attached, damaged) = Log::open(&path)?;
        for line in damaged {
            tracing::warn!("{line}; what it said is taken from the links that are there");
        }
        let net = Net::open()?;
        let mut state = State {
            pool: Pool::default(),
            log,
            attached,
            indices: HashMap::new(),
            late: HashSet::new(),
            queued: net.queued_links().map_err(io::Error::other)?,
            busy: HashSet::new(),
            reap: Vec::new(),
            away: HashMap::new(),
            mtu: 1500,
            sources: Vec::new(),
            ended: false,
        };
        state.pool.set_others(host_local::held(host_local));
        let links = net.links().map_err(io::Error::other)?;
        state.adopt(&links)?;
        // What is going has no packets and no ports any more, however far its DEL had come.
        let is_held = |key: &&Key| matches!(state.attached.get(*key), Some((_, Stage::Held)));
        let held: Vec<u32> = state.indices.keys().filter(is_held).map(|key| state.indices[key]).collect();
        datapath.keep_pods(&held);
        for (key, (attachment, stage)) in &state.attached {
            if let (Some(index), Stage::Held) = (state.indices.get(key), stage) {
                tell_datapath(datapath.as_ref(), attachment, *index, &state.queued);
                listener(attachment, true);
            }
        }
        tracing::info!(attachments = state.attached.len(), going = state.reap.len(), "pods' network: taken over");
        Ok(Pods {
            state: Mutex::new(state),
            changed: Condvar::new(),
            nets: Mutex::new(vec![net]),
            datapath,
            ready,
            listener,
            host_local: host_local.to_owned(),
        })
    }
}

impl State {
    /// Brings together what the log says and the links that are there.
    fn adopt(&mut self, links: &[Link]) -> io::Result<()> {
        let ours: HashMap<&str, &Link> =
            links.iter().filter(|link| link.name.starts_with(PREFIX)).map(|link| (link.name.as_str(), link)).collect();
        let mut found = HashSet::new();
        for key in self.attached.keys().cloned().collect::<Vec<_>>() {
            let name = key.link();
            let Some((attachment, stage)) = self.attached.get(&key).cloned() else { continue };
            match ours.get(name.as_str()) {
                Some(link) => {
                    found.insert(name);
                    self.pool.hold(&key, &attachment.addresses);
                    self.indices.insert(key.clone(), link.index);
                    if stage == Stage::Going {
                        self.reap.push(key);
                    }
                }
                // After a reboot, or its container is gone.
                None => {
                    self.pool.hold(&key, &attachment.addresses);
                    self.free(&key);
                }
            }
        }
        for (name, link) in ours {
            if found.contains(name) || link.kind != "veth" {
                continue;
            }
            // Its record is lost: the link says whose it is, and what it has.
            if let Some(attachment) = Attachment::of_note(&link.alias)
                && attachment.key.link() == name
            {
                let key = attachment.key.clone();
                let attachment = Attachment { mtu: link.mtu, ..attachment };
                tracing::warn!(link = name, container = %key.container, "not in the log; taken over from the link");
                self.pool.hold(&key, &attachment.addresses);
                self.log.held(&attachment)?.sync()?;
                self.indices.insert(key.clone(), link.index);
                self.attached.insert(key, (attachment, Stage::Held));
            }
        }
        Ok(())
    }
}
