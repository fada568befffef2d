//! What changes at wires that are there: their MTU follows the node's, and packets pass the queues that others add.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use bowline_cni_protocol::{CniError, PortMapping};
use bowline_net::Net;

use super::{Pods, failed};
use crate::attachment::{Attachment, Key};
use crate::datapath::{Datapath, PodWire};
use crate::log::Stage;
use crate::wiring;

impl Pods {
    /// The longest packet of pods, and the addresses that the node's packets to them are from. Wires that are there
    /// follow. False: some don't yet, since somebody is at work on them; they do when it is called again.
    pub fn set_shape(&self, mtu: u32, sources: &[IpAddr]) -> bool {
        let others = {
            let mut state = self.lock();
            sources.clone_into(&mut state.sources);
            let late = std::mem::take(&mut state.late);
            let is_new = state.mtu != mtu;
            if is_new {
                tracing::info!(before = state.mtu, mtu, "the MTU of pods");
                state.mtu = mtu;
            }
            let is_meant =
                |key: &Key, one: &Attachment| (is_new || late.contains(key)) && !one.own_mtu && one.mtu != mtu;
            let held = state.attached.iter().filter(|(_, (_, stage))| *stage == Stage::Held);
            held.filter(|(key, (one, _))| is_meant(key, one)).map(|(key, _)| key.clone()).collect::<Vec<Key>>()
        };
        let mut is_whole = true;
        for key in others {
            match self.resize(&key, mtu) {
                Ok(()) => {}
                Err(error) if error.code == CniError::TRY_AGAIN_LATER => {
                    is_whole = false;
                    self.lock().late.insert(key);
                }
                Err(error) => {
                    tracing::warn!(container = %key.container, ifname = %key.ifname, mtu, %error, "its MTU stays as it was");
                }
            }
        }
        is_whole
    }

    /// Gives a wire another MTU, at both ends.
    fn resize(&self, key: &Key, mtu: u32) -> Result<(), CniError> {
        let _busy = self.busy(key, Instant::now() + Duration::from_millis(100), None)?;
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
    pub fn set_queued(&self, mut queued: HashSet<u32>) {
        let mut state = self.lock();
        // Who is being made or undone just now is left as it was, for the next look.
        for index in state.busy.iter().filter_map(|key| state.indices.get(key)) {
            if state.queued.contains(index) {
                queued.insert(*index);
            } else {
                queued.remove(index);
            }
        }
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

/// Tells the programs what a pod is by now, and which ports it has.
pub(super) fn tell_datapath(datapath: &dyn Datapath, attachment: &Attachment, index: u32, queued: &HashSet<u32>) {
    let wire = PodWire::of(attachment, index, wiring::is_shaped(attachment) || queued.contains(&index));
    let told = datapath.put_pod(&wire);
    let told = told.and_then(|()| {
        let put = |port: &PortMapping| datapath.put_port(port, &attachment.addresses);
        attachment.ports.iter().try_for_each(put)
    });
    if let Err(error) = told {
        tracing::error!(container = %attachment.key.container, %error, "a pod that runs has lost its programs");
    }
}
