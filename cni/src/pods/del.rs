//! DEL, GC, and the end of what got no DEL.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bowline_cni_protocol::CniError;

use super::{Pods, failed};
use crate::attachment::Key;
use crate::host_local;
use crate::log::Stage;

/// How long a link of an attachment may be away without a DEL before it is taken for gone: the runtime's DEL is on its way.
const AWAY: Duration = Duration::from_secs(60);

impl Pods {
    /// Detaches a container. What was never attached is detached.
    ///
    /// # Errors
    /// What a runtime is told.
    pub fn del(&self, key: &Key, deadline: Instant) -> Result<(), CniError> {
        let _busy = self.busy(key, deadline, None)?;
        let found = self.lock().attached.get(key).cloned();
        let Some((attachment, Stage::Held)) = found else {
            let had = host_local::give_back(&self.host_local, key);
            if !had.is_empty() {
                tracing::info!(container = %key.container, addresses = ?had, "a pod of the network before this one has ended");
                self.lock().pool.set_others(host_local::held(&self.host_local));
            }
            return Ok(());
        };
        {
            let mut state = self.lock();
            if let Err(error) = state.log.going(key) {
                // It is taken away all the same: after a start without this line its link is missing.
                tracing::warn!(container = %key.container, %error, "the log of attachments");
            }
            if let Some((_, stage)) = state.attached.get_mut(key) {
                *stage = Stage::Going;
            }
        }
        self.close_ports(&attachment);
        (self.listener)(&attachment, false);
        tracing::info!(
            container = %key.container, ifname = %key.ifname, pod = attachment.pod.as_ref().map(tracing::field::display),
            addresses = ?attachment.addresses, "detached"
        );
        self.lock().reap.push(key.clone());
        self.changed.notify_all();
        Ok(())
    }

    /// Detaches what is not among these, unless its link is there: whoever has a link has its address, whatever a list
    /// leaves out. Says how many were detached, and which were not.
    ///
    /// # Errors
    /// What a runtime is told; what could be done is done.
    pub fn gc(&self, network: &str, valid: &HashSet<Key>, deadline: Instant) -> Result<(usize, Vec<Key>), CniError> {
        let links = self.net()?.links().map_err(|error| failed("listing links", &error))?;
        let names: HashSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let mut kept = Vec::new();
        let mut stale = Vec::new();
        let state = self.lock();
        for (key, (attachment, stage)) in state.attached.iter().filter(|(key, _)| !state.busy.contains(*key)) {
            let is_of_it = attachment.network == network || attachment.network.is_empty();
            if *stage == Stage::Held && is_of_it && !valid.contains(key) {
                if names.contains(key.link().as_str()) { kept.push(key.clone()) } else { stale.push(key.clone()) }
            }
        }
        drop(state);
        let mut freed = 0;
        for key in stale {
            // It may have come since the links were listed.
            match self.net()?.link(&key.link()) {
                Ok(None) => {
                    self.del(&key, deadline)?;
                    freed += 1;
                }
                _ => kept.push(key),
            }
        }
        Ok((freed, kept))
    }

    /// Looks after what nobody says: links that went without a DEL.
    pub fn tend(&self) {
        let Ok(net) = self.net() else { return };
        let Ok(links) = net.links() else { return };
        drop(net);
        let names: HashSet<String> = links.into_iter().map(|link| link.name).collect();
        let now = Instant::now();
        let mut gone = Vec::new();
        {
            let others = host_local::held(&self.host_local);
            let mut state = self.lock();
            let state = &mut *state;
            state.pool.set_others(others);
            for (key, (_, stage)) in &state.attached {
                let is_away = *stage == Stage::Held && !state.busy.contains(key) && !names.contains(&key.link());
                if !is_away {
                    state.away.remove(key);
                } else if now.duration_since(*state.away.entry(key.clone()).or_insert(now)) >= AWAY {
                    gone.push(key.clone());
                }
            }
            let attached = &state.attached;
            state.away.retain(|key, _| attached.contains_key(key) && !gone.contains(key));
        }
        for key in gone {
            tracing::warn!(container = %key.container, ifname = %key.ifname, "its network namespace is gone without a DEL");
            let _ = self.del(&key, now + Duration::from_secs(1));
        }
    }
}
