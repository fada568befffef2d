//! Links are removed after the answer to DEL, several at once: the kernel waits for all CPUs for each that goes alone.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use bowline_net::{ENODEV, Net};

use super::Pods;
use crate::attachment::{Attachment, Key};

/// The group of links that are being removed (IFLA_GROUP): one of ours.
const GOING: u32 = 0x626f_7767;
/// How long after links that could not be removed it is tried again.
const AGAIN: Duration = Duration::from_millis(100);

impl Pods {
    /// Removes links, several at once, and frees what they had. Runs on a thread of its own until [`Pods::end`].
    pub fn reap(&self) {
        loop {
            let mut state = self.lock();
            while state.reap.is_empty() && !state.ended {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.reap.is_empty() {
                return;
            }
            let keys = std::mem::take(&mut state.reap);
            drop(state);
            let left = match self.net() {
                Ok(net) => remove_links(&net, &keys),
                Err(_) => keys.iter().cloned().collect(),
            };
            let gone: Vec<Attachment> = {
                let state = self.lock();
                let gone = keys.iter().filter(|key| !left.contains(key)).filter_map(|key| state.attached.get(key));
                gone.map(|(attachment, _)| attachment.clone()).collect()
            };
            self.forget(&gone);
            let mut state = self.lock();
            gone.iter().for_each(|attachment| state.free(&attachment.key));
            let is_ended = state.ended;
            state.reap.extend(left.iter().cloned());
            drop(state);
            self.changed.notify_all();
            if !left.is_empty() {
                if is_ended {
                    return;
                }
                thread::sleep(AGAIN);
            }
        }
    }
}

/// Removes the links of these; gives those whose link is still there.
fn remove_links(net: &Net, keys: &[Key]) -> HashSet<Key> {
    let mut left = HashSet::new();
    let mut any = false;
    for key in keys {
        match net.link(&key.link()) {
            Ok(None) => {}
            Ok(Some(link)) => match net.set_group(link.index, GOING) {
                Ok(()) => {
                    any = true;
                    left.insert(key.clone());
                }
                Err(error) if error.errno() == Some(ENODEV) => {}
                Err(_) => drop(left.insert(key.clone())),
            },
            Err(_) => drop(left.insert(key.clone())),
        }
    }
    if !any {
        return left;
    }
    match net.remove_group(GOING) {
        Ok(()) => {}
        Err(error) if error.errno() == Some(ENODEV) => {}
        Err(error) => {
            tracing::warn!(%error, "links could not be removed together; one after another");
            for key in &left {
                if let Ok(Some(link)) = net.link(&key.link()) {
                    let _ = net.remove(link.index);
                }
            }
        }
    }
    left.retain(|key| !matches!(net.link(&key.link()), Ok(None)));
    left
}
