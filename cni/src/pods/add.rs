//! ADD: an address, a note of it on the disk, a wire; and nothing of all that where one of them fails.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::Instant;

use bowline_cni_protocol::CniError;
use bowline_net::{ENODEV, Net};

use super::{Pods, failed};
use crate::addresses::{AddressError, Wanted};
use crate::attachment::Attachment;
use crate::log::{Stage, Written};
use crate::wiring::{self, WireError};

/// What an ADD asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is to be attached; its addresses, `mtu` and the `mac` are filled in where they are left out.
    pub attachment: Attachment,
    /// Which addresses.
    pub wanted: Wanted,
    /// An MTU in the place of the node's.
    pub mtu: Option<u32>,
}

impl Pods {
    /// Attaches a container. The same question has the same answer.
    ///
    /// # Errors
    /// What a runtime is told. Then nothing is left of it.
    pub fn add(&self, ask: Ask, netns: &OwnedFd, deadline: Instant) -> Result<(Attachment, u32), CniError> {
        if wiring::is_own(netns.as_fd()).map_err(|error| failed("the container's network namespace", &error))? {
            let said = format!("{} is the node's own network namespace", ask.attachment.netns);
            return Err(CniError::new(CniError::INVALID_NETNS, said));
        }
        self.ready.wait(deadline).map_err(|why| CniError::new(CniError::TRY_AGAIN_LATER, why))?;
        let key = ask.attachment.key.clone();
        let busy = self.busy(&key, deadline, Some(&ask.attachment.netns))?;
        let net = self.net()?;
        let before = self.lock().attached.get(&key).map(|(attachment, _)| attachment.clone());
        let again = before.is_some();
        if let Some(before) = before {
            let index = self.lock().indices.get(&key).copied();
            if let Some(index) = index
                && wiring::check(&net, netns.as_fd(), &before).is_ok()
            {
                return Ok((before, index));
            }
            // It was begun and not ended, or in a namespace that is gone. Its addresses stay its own.
            if let Err(error) = self.cut(&net, &before) {
                self.undo(&net, &before);
                return Err(error);
            }
        }
        let (attachment, written) = match self.note(ask) {
            Ok(noted) => noted,
            Err(error) => {
                let before = self.lock().attached.get(&key).map(|(attachment, _)| attachment.clone());
                before.iter().for_each(|before| self.undo(&net, before));
                return Err(error);
            }
        };
        let sources = self.lock().sources.clone();
        // The disk takes about as long as the kernel: both at once.
        let made = thread::scope(|scope| {
            let disk = thread::Builder::new().name("cni-disk".into()).spawn_scoped(scope, move || written.sync());
            let disk = disk.map_err(|error| failed("a thread", &error))?;
            let made = wiring::make(&net, netns.as_fd(), &attachment, &sources, |wire| self.datapath.put_pod(wire));
            let made = made.map_err(|error| of_wire(&error)).and_then(|wire| {
                self.lock().indices.insert(key.clone(), wire.index);
                self.open_ports(&attachment)?;
                Ok(wire.index)
            });
            let on_disk = disk.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")));
            on_disk.map_err(|error| failed("the log of attachments", &error)).and(made)
        });
        let index = match made {
            Ok(index) => index,
            Err(error) => {
                self.undo(&net, &attachment);
                drop(busy);
                return Err(error);
            }
        };
        // While it is ours: a DEL that comes at once is told after this.
        (self.listener)(&attachment, true);
        drop(busy);
        tracing::info!(
            container = %key.container, ifname = %key.ifname, pod = attachment.pod.as_ref().map(tracing::field::display),
            addresses = ?attachment.addresses, link = %key.link(), again, "attached"
        );
        Ok((attachment, index))
    }

    /// Gives it addresses, and notes both.
    fn note(&self, ask: Ask) -> Result<(Attachment, Written), CniError> {
        let Ask { mut attachment, wanted, mtu } = ask;
        let mut state = self.lock();
        let state = &mut *state;
        let key = attachment.key.clone();
        attachment.mtu = mtu.unwrap_or(state.mtu);
        attachment.own_mtu = mtu.is_some();
        if attachment.delegated {
            if !state.pool.hold(&key, &attachment.addresses) {
                let said = format!("the addresses {:?} are held by another container", attachment.addresses);
                return Err(CniError::new(CniError::IPAM, said));
            }
            // Asked again, its plugin may give others.
            let before = state.attached.get(&key).map(|(before, _)| before.addresses.clone()).unwrap_or_default();
            let gone: Vec<IpAddr> = before.into_iter().filter(|one| !attachment.addresses.contains(one)).collect();
            state.pool.release(&key, &gone, Instant::now());
        } else if let Some((before, _)) = state.attached.get(&key) {
            attachment.addresses = before.addresses.clone();
        } else {
            attachment.addresses = state.pool.give(&key, &wanted, Instant::now()).map_err(of_address)?;
        }
        let written = match state.log.held(&attachment) {
            Ok(written) => written,
            Err(error) => {
                // What it had before stays its own.
                let before = state.attached.get(&key).map(|(before, _)| before.addresses.clone()).unwrap_or_default();
                let new: Vec<IpAddr> =
                    attachment.addresses.iter().filter(|one| !before.contains(one)).copied().collect();
                state.pool.release(&key, &new, Instant::now());
                return Err(failed("the log of attachments", &error));
            }
        };
        state.attached.insert(key, (attachment.clone(), Stage::Held));
        Ok((attachment, written))
    }

    fn open_ports(&self, attachment: &Attachment) -> Result<(), CniError> {
        for port in &attachment.ports {
            self.datapath.put_port(port, &attachment.addresses).map_err(|why| {
                let said = format!("hostPort {}/{:?}: {why}", port.host_port, port.protocol);
                CniError::new(CniError::FAILED, said)
            })?;
        }
        Ok(())
    }

    /// Takes a wire away that is to be made anew.
    fn cut(&self, net: &Net, attachment: &Attachment) -> Result<(), CniError> {
        self.close(attachment);
        match net.link(&attachment.key.link()) {
            Ok(None) => Ok(()),
            Ok(Some(link)) => match net.remove(link.index) {
                Err(error) if error.errno() != Some(ENODEV) => Err(failed("removing an earlier wire", &error)),
                _ => Ok(()),
            },
            Err(error) => Err(failed("finding an earlier wire", &error)),
        }
    }

    /// Its ports and its packets, no more.
    fn close(&self, attachment: &Attachment) {
        self.close_ports(attachment);
        self.forget(std::slice::from_ref(attachment));
    }

    pub(super) fn close_ports(&self, attachment: &Attachment) {
        attachment.ports.iter().for_each(|port| self.datapath.remove_port(port, &attachment.addresses));
    }

    /// The packets of some, no more. That is quick where its link is gone already; otherwise the kernel waits for every CPU.
    pub(super) fn forget(&self, attachments: &[Attachment]) {
        let gone: Vec<(u32, Vec<IpAddr>)> = {
            let mut state = self.lock();
            let gone =
                attachments.iter().filter_map(|one| Some((state.indices.remove(&one.key)?, one.addresses.clone())));
            gone.collect()
        };
        if !gone.is_empty() {
            self.datapath.remove_pods(&gone);
        }
    }

    /// Leaves nothing of an ADD that failed.
    fn undo(&self, net: &Net, attachment: &Attachment) {
        let link = net.link(&attachment.key.link()).ok().flatten();
        if let Some(link) = &link {
            self.datapath.remove_pods(&[(link.index, attachment.addresses.clone())]);
        }
        match self.cut(net, attachment) {
            Ok(()) => self.lock().free(&attachment.key),
            // The reaper goes on with it.
            Err(error) => {
                tracing::warn!(container = %attachment.key.container, %error, "an attachment that failed is not away yet");
                let mut state = self.lock();
                state.going(&attachment.key);
                state.reap.push(attachment.key.clone());
            }
        }
        // Of one that was asked for again it was told that it is there.
        (self.listener)(attachment, false);
        self.changed.notify_all();
    }
}

fn of_wire(error: &WireError) -> CniError {
    let code = match error {
        WireError::Exists(_) => CniError::INVALID_ENVIRONMENT,
        _ => CniError::FAILED,
    };
    let name = if matches!(error, WireError::Exists(_)) { "CNI_IFNAME: " } else { "" };
    CniError::new(code, format!("{name}{error}"))
}

fn of_address(error: AddressError) -> CniError {
    let code = match error {
        AddressError::NoNetwork | AddressError::Full { .. } => CniError::TRY_AGAIN_LATER,
        AddressError::Held { .. } | AddressError::Others(_) => CniError::FAILED,
        AddressError::Outside(..) => CniError::INVALID_CONFIG,
    };
    CniError::new(code, error.to_string())
}
