//! Pods' packets: programs at the devices of the node, and the maps from which they know what is where. What they decide goes
//! from device to device; what they leave alone goes the way of the node's own network stack.
//!
//! ```text
//! sizes    how many entries the maps have
//! object   the object: maps and programs, where they are pinned    <bpf-root>/packets-<version>-<sizes>/<map>
//! pods     what the maps say of a pod, written and read
//! ```
//!
//! All of it works without an agent. The next one adopts what is there; it flushes nothing.

mod object;
mod pods;
mod sizes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use bowline_ebpf::packet::layout::{Address, Local};
pub use bowline_ebpf::packet::verdict::PacketVerdict;
use bowline_sys::Map;

use crate::kernel::links::{AttachPoint, Attachment, DeviceHook, attach, detach, sweep};
use crate::kernel::{Folder, KernelError, PACKETS, folders_of, path_error};
use object::{PROGRAMS, Program, Programs};
pub use pods::PodWire;
pub use sizes::PacketSizes;

/// A link of the node, over which pods' packets come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index in the node's network namespace.
    pub index: u32,
    /// Which kind.
    pub kind: LinkKind,
    /// The address that pods' packets get which leave the cluster here; None: they keep their own.
    pub v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The world, and other nodes.
    Uplink,
    /// Other nodes alone, by a tunnel (VXLAN).
    Tunnel,
}

/// The programs and maps for packets, of this thread's network namespace: `open` and all that attaches are called in it.
#[derive(Debug)]
pub struct Packets {
    root: PathBuf,
    folder: Folder,
    programs: Programs,
    veths: Map,
    local: Map,
    verdicts: Map,
}

impl Packets {
    /// Makes the maps below `bpf_root`, which is there, or takes over those that are, and loads the programs. What is attached
    /// goes on with the programs that it has, until its device is put again.
    ///
    /// # Errors
    /// The kernel refuses, or maps that are there have another shape.
    pub fn open(bpf_root: &Path, sizes: PacketSizes) -> Result<Packets, KernelError> {
        let folder = Folder(bpf_root.join(sizes.folder()));
        let programs = Programs::load(&folder, &sizes)?;
        sweep(bpf_root, &PROGRAMS.map(|program| program.name))?;
        Ok(Packets {
            root: bpf_root.to_owned(),
            veths: folder.map("veths")?,
            local: folder.map("local")?,
            verdicts: folder.map("packet_verdicts")?,
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

    /// Forgets the pod behind a device, and takes the program away from it; nothing, where there is none. What the device
    /// still sends is dropped before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_pod(&mut self, index: u32) -> Result<(), KernelError> {
        self.forget_pod(index)?;
        detach(&self.root, Program::FROM_POD.name, index, Program::FROM_POD.hook)
    }

    /// Says which addresses are the node's own: no pod has them, and what is for them goes to the node itself. What was said
    /// before and isn't any more no longer holds.
    ///
    /// # Errors
    /// The map is full, or the kernel's.
    pub fn set_node_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), KernelError> {
        let write = |error| path_error(&self.folder.0.join("local"), "writing")(error);
        let wanted: Vec<_> = addresses.iter().map(|address| pods::bytes(pods::address(*address))).collect();
        for key in &wanted {
            self.local.put(key, &Local::default().to_bytes()).map_err(write)?;
        }
        for (key, value) in self.local.entries().map_err(write)? {
            let is_node = Local::from_bytes(&value).index == 0;
            if is_node && !wanted.iter().any(|wanted| wanted[..] == key[..]) {
                self.local.remove(&key).map_err(write)?;
            }
        }
        Ok(())
    }

    /// Attaches the programs for what comes over a link of the node.
    ///
    /// # Errors
    /// The device is gone, or the kernel's.
    pub fn put_link(&mut self, link: &Link) -> Result<(), KernelError> {
        self.attach(Program::FROM_LINK, link.index)
    }

    /// Takes them away.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_link(&mut self, index: u32) -> Result<(), KernelError> {
        detach(&self.root, Program::FROM_LINK.name, index, Program::FROM_LINK.hook)
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

    fn attach(&self, program: Program, index: u32) -> Result<(), KernelError> {
        let point = AttachPoint::Device { index, hook: program.hook };
        attach(&self.root, &[Attachment { name: program.name, point, program: self.programs.of(program)? }])
    }
}
