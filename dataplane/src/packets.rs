//! Pods' packets: programs at the devices of the node, and the maps from which they know what is where. What they decide goes
//! from device to device; what they leave alone goes the way of the node's own network stack.
//!
//! ```text
//! sizes    how many entries the maps have
//! object   the object: maps and programs, where they are pinned    <bpf-root>/packets-<version>-<sizes>/<map>
//! pods     what the maps say of a pod, written and read
//! links    what they say of the node's links and addresses, and of where pods keep their own
//! host_ports   what they say of ports of the node that pods have
//! flows    flows that are over are forgotten
//! ```
//!
//! All of it works without an agent. The next one adopts what is there; it flushes nothing.

mod flows;
mod host_ports;
mod links;
mod object;
mod pods;
mod sizes;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use bowline_ebpf::packet::verdict::PacketVerdict;
use bowline_sys::{Cursor, Map};

use crate::kernel::links::{AttachPoint, Attachment, DeviceHook, attach, detach, sweep};
use crate::kernel::{Folder, KernelError, PACKETS, folders_of, path_error};
pub use flows::now;
pub use host_ports::{HostPort, HostPortError};
pub use links::{Link, LinkKind};
use object::{PROGRAMS, Program, Programs};
pub use pods::PodWire;
pub use sizes::PacketSizes;

/// Loads the programs over small maps that are pinned in a folder, and attaches nothing. Returns how many instructions the
/// verifier went through for each.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn try_programs(folder: &Folder) -> Result<BTreeMap<&'static str, u32>, KernelError> {
    let sizes = PacketSizes { pods: 16, local: 16, inside: 16, host_ports: 16, flows: 16, fragments: 16 };
    Ok(Programs::load(folder, &sizes)?.verified().collect())
}

/// The programs and maps for packets, of this thread's network namespace: `open` and all that attaches are called in it.
#[derive(Debug)]
pub struct Packets {
    root: PathBuf,
    folder: Folder,
    programs: Programs,
    veths: Map,
    local: Map,
    links: Map,
    inside: Map,
    host_ports: Map,
    flows: Map,
    verdicts: Map,
    /// How far [`Packets::expire`] has come.
    walk: Cursor,
    /// The maps that this start has made, which nothing uses yet.
    unserved: Unserved,
}

/// Maps that go again when this is dropped, unless they are taken out of it.
#[derive(Debug)]
struct Unserved(Option<Folder>);

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|folder| folder.0.exists())
            && let Err(error) = folder.remove()
        {
            tracing::warn!(%error, "maps that nothing uses stay; `bowline cleanup` takes them away");
        }
    }
}

impl Packets {
    /// Makes the maps below `bpf_root`, which is there, or takes over those that are, and loads the programs. What is attached
    /// goes on with the programs that it has, until its device is put again. Maps that were made go with this value, unless
    /// something was attached.
    ///
    /// # Errors
    /// The kernel refuses, or maps that are there have another shape. Then nothing is left of what was made.
    pub fn open(bpf_root: &Path, sizes: PacketSizes) -> Result<Packets, KernelError> {
        let folder = Folder(bpf_root.join(sizes.folder()));
        let unserved = Unserved((!folder.0.exists()).then(|| folder.clone()));
        let programs = Programs::load(&folder, &sizes)?;
        sweep(bpf_root, &PROGRAMS.map(|program| program.name))?;
        Ok(Packets {
            root: bpf_root.to_owned(),
            veths: folder.map("veths")?,
            local: folder.map("local")?,
            links: folder.map("links")?,
            inside: folder.map("inside")?,
            host_ports: folder.map("host_ports")?,
            flows: folder.map("flows")?,
            verdicts: folder.map("packet_verdicts")?,
            walk: Cursor::default(),
            unserved,
            folder,
            programs,
        })
    }

    /// Says where a pod is, and attaches the program for what it sends. Again with the same index: what it says of that now
    /// holds instead.
    ///
    /// # Errors
    /// A map is full, or the device is gone. Then nothing is left of it: [`Packets::remove_pod`] was called.
    pub fn put_pod(&mut self, pod: &PodWire) -> Result<(), KernelError> {
        let put = self.write_pod(pod).and_then(|()| self.attach(Program::FROM_POD, pod.index));
        if put.is_err() {
            self.remove_pod(pod.index)?;
        }
        put
    }

    /// Forgets the pod behind a device and its flows, and takes the program away from it; nothing, where there is none. What the
    /// device still sends is dropped before. Quick where the device is gone already; else it waits for every CPU.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_pod(&mut self, index: u32) -> Result<(), KernelError> {
        self.remove_pods(&[index])
    }

    /// The same for several at once: flows are gone through once for all of them.
    ///
    /// # Errors
    /// The kernel's, the last of them; what could be done is done.
    pub fn remove_pods(&mut self, indices: &[u32]) -> Result<(), KernelError> {
        let mut done = self.forget_pods(indices);
        for index in indices {
            let detached = detach(&self.root, Program::FROM_POD.name, *index, Program::FROM_POD.hook);
            done = detached.and(done);
        }
        done
    }

    /// Removes maps of other versions and sizes: to be called once every pod and link has been put again, so that no program
    /// uses them any more.
    ///
    /// # Errors
    /// The file system's.
    pub fn retire_others(&mut self) -> Result<(), KernelError> {
        for folder in folders_of(&self.root, PACKETS)?.into_iter().filter(|folder| *folder != self.folder) {
            tracing::info!(path = %folder.0.display(), "removing maps of another version");
            folder.remove()?;
        }
        Ok(())
    }

    /// How often each verdict was given since the maps were made.
    pub fn counts(&self) -> Vec<(PacketVerdict, u64)> {
        let count = |verdict: PacketVerdict| {
            let all = self.verdicts.get(&(verdict as u32).to_ne_bytes()).ok().flatten().unwrap_or_default();
            all.chunks_exact(8).map(|count| count.try_into().map_or(0, u64::from_ne_bytes)).sum()
        };
        PacketVerdict::ALL.into_iter().map(|verdict| (verdict, count(verdict))).collect()
    }

    /// An error at a map.
    fn in_map(&self, name: &str, what: &'static str) -> impl Fn(io::Error) -> KernelError + use<> {
        let path = self.folder.0.join(name);
        move |error| path_error(&path, what)(error)
    }

    fn attach(&mut self, program: Program, index: u32) -> Result<(), KernelError> {
        let point = AttachPoint::Device { index, hook: program.hook };
        attach(&self.root, &[Attachment { name: program.name, point, program: self.programs.of(program)? }])?;
        self.unserved.0 = None;
        Ok(())
    }
}
