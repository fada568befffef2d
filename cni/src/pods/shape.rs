//! What changes at wires that are there: their MTU follows the node's, and packets pass the queues that others add.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use bowline_cni_protocol::CniError;
use bowline_net::Net;

use super::{Pods, failed, tell_datapath};
use crate::attachment::{Attachment, Key};
use crate::log::Stage;
use crate::wiring;

impl Pods {
    /// The longest packet of pods, and the addresses that the node's packets to them are from. Wires that are there
    /// follow.
    pub fn set_shape(&self, mtu: u32, sources: &[IpAddr]) {
        let others = {
            let mut state = self.lock();
            sources.clone_into(&mut state.sources);
            if state.mtu == mtu {
                return;
            }
            tracing::info!(before = state.mtu, mtu, "the MTU of pods");
            state.mtu = mtu;
            let held = state
                .attached
                .iter()
                .filter(|(_, (one, stage))| *stage == Stage::Held && !one.own_mtu && one.mtu != mtu);
            held.map(|(key, _)| key.clone()).collect::<Vec<Key>>()
        };
        for key in others {
            if let Err(error) = self.resize(&key, mtu) {
                tracing::warn!(container = %key.container, ifname = %key.ifname, mtu, %error, "its MTU stays as it was");
            }
        }
    }

    /// Gives a wire another MTU, at both ends.
    fn resize(&self, key: &Key, mtu: u32) -> Result<(), CniError> {
        let _busy = self.busy(key, Instant::now() + Duration::from_secs(10), None)?;
        let found = self.lock().attached.get(key).cloned();
        let Some((mut attachment, Stage::Held)) = found else { return Ok(()) };
        // It may be out of our sight: then the runtime's path leads nowhere here.
        let netns = std::fs::File::open(&attachment.netns).map_err(|error| failed(&attachment.netns, &error))?;
        let pod = Net::open_in(netns.as_fd()).map_err(|error| failed(&attachment.netns, &error))?;
        // The path may be of a process, whose number another has by now.
        let there = pod.link(&key.ifname).map_err(|error| failed(&attachment.netns, &error))?;
        if there.is_none_or(|link| link.mac != Some(attachment.mac)) {
            return Err(CniError::new(CniError::FAILED, format!("{} is not its namespace any more", attachment.netns)));
        }
        let net = self.net()?;
        let ends = [(&*net, key.link()), (&pod, key.ifname.clone())];
        for (net, name) in ends {
            let link = net.link(&name).map_err(|error| failed(&name, &error))?;
            let index = link.map(|link| link.index).unwrap_or_default();
            net.set_mtu(index, mtu).map_err(|error| failed(&name, &error))?;
        }
        attachment.mtu = mtu;
        let mut state = self.lock();
        if let Err(error) = state.log.held(&attachment).and_then(|written| written.sync()) {
            tracing::warn!(container = %key.container, %error, "the log of attachments");
        }
        let index = state.indices.get(key).copied();
        state.attached.insert(key.clone(), (attachment.clone(), Stage::Held));
        let queued = state.queued.clone();
        drop(state);
        if let Some(index) = index {
            tell_datapath(self.datapath.as_ref(), &attachment, index, &queued);
        }
        Ok(())
    }

    /// Which of the node's ends have a queue by now: a plugin behind us in the chain (bandwidth) adds it after our answer.
    pub fn set_queued(&self, queued: HashSet<u32>) {
        let mut state = self.lock();
        let is_other = |one: &Attachment, index: &u32| {
            !wiring::is_shaped(one) && state.queued.contains(index) != queued.contains(index)
        };
        let held = state.attached.values().filter(|(_, stage)| *stage == Stage::Held).map(|(attachment, _)| attachment);
        let held = held.filter_map(|one| Some((one.clone(), *state.indices.get(&one.key)?)));
        let changed: Vec<(Attachment, u32)> = held.filter(|(one, index)| is_other(one, index)).collect();
        state.queued = queued;
        // Under the lock: none of them is taken away meanwhile.
        for (attachment, index) in changed {
            tell_datapath(self.datapath.as_ref(), &attachment, index, &state.queued);
        }
    }
}
