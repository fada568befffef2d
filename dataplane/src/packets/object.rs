//! The object for packets, and how it comes into the kernel.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use bowline_ebpf::packet::layout::{Datagram, Flow, HostPortKey, Link, Local, Ports, Target, Tuple, Veth};

use super::{DeviceHook, PacketSizes};
use crate::kernel::{Folder, KernelError, explain, path_error};

/// The object that build.rs made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/packets.bpf.o"));

/// A program, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its name in the object, in the kernel and of its pins.
    pub(super) name: &'static str,
    /// Which packets of its devices it sees.
    pub(super) hook: DeviceHook,
}

impl Program {
    /// What a pod sends.
    pub(super) const FROM_POD: Program = Program { name: "from_pod", hook: DeviceHook::TcxIngress };
    /// What comes over a link of the node.
    pub(super) const FROM_LINK: Program = Program { name: "from_link", hook: DeviceHook::TcxIngress };
    /// What leaves over a link to the world.
    pub(super) const TO_LINK: Program = Program { name: "to_link", hook: DeviceHook::TcxEgress };
}

/// All of them.
pub(super) const PROGRAMS: [Program; 3] = [Program::FROM_POD, Program::FROM_LINK, Program::TO_LINK];

/// The maps: kind (`enum bpf_map_type`), bytes of key and value.
const MAPS: [(&str, u32, usize, usize); 8] = [
    ("veths", 1, 4, Veth::SIZE),
    ("local", 1, 16, Local::SIZE),
    ("links", 1, 4, Link::SIZE),
    ("inside", 11, 20, 4),
    ("host_ports", 1, HostPortKey::SIZE, Target::SIZE),
    ("flows", 1, Tuple::SIZE, Flow::SIZE),
    ("fragments", 9, Datagram::SIZE, Ports::SIZE),
    ("packet_verdicts", 6, 4, 8),
];

/// A program in the kernel.
#[derive(Debug)]
struct Loaded {
    program: Program,
    fd: OwnedFd,
    /// How many instructions the verifier went through.
    verified: u32,
}

/// The programs, loaded.
#[derive(Debug)]
pub(super) struct Programs(Vec<Loaded>);

impl Programs {
    /// Makes the maps in a folder, or takes those that are there, and loads the programs over them.
    ///
    /// # Errors
    /// The kernel refuses, or maps that are there have another shape.
    pub(super) fn load(folder: &Folder, sizes: &PacketSizes) -> Result<Programs, KernelError> {
        fs::create_dir_all(&folder.0).map_err(path_error(&folder.0, "creating"))?;
        let mut loader = EbpfLoader::new();
        for (name, ..) in MAPS {
            loader.map_pin_path(name, folder.0.join(name));
        }
        for (name, entries) in sizes.entries() {
            loader.map_max_entries(name, entries);
        }
        let mut object = loader.load(OBJECT)?;
        for (name, kind, key, value) in MAPS {
            let map = folder.map(name)?;
            let found = (map.kind(), map.key_size(), map.value_size());
            if found != (kind, key, value) {
                return Err(KernelError::Shape {
                    path: folder.0.join(name),
                    found: format!("{found:?}"),
                    wanted: format!("{:?}", (kind, key, value)),
                });
            }
        }
        let mut loaded = Vec::new();
        for program in PROGRAMS {
            let refused = |what: String| KernelError::Program { hook: program.name, what };
            let missing = || refused("the object has no such program".into());
            let in_object: &mut SchedClassifier =
                object.program_mut(program.name).and_then(|found| found.try_into().ok()).ok_or_else(missing)?;
            in_object.load().map_err(|error| refused(explain(program.name, &error)))?;
            let verified = in_object.info().ok().and_then(|info| info.verified_instruction_count()).unwrap_or(0);
            let fd = in_object.fd().map_err(|error| refused(error.to_string()))?;
            let fd = fd.as_fd().try_clone_to_owned().map_err(|error| refused(error.to_string()))?;
            loaded.push(Loaded { program, fd, verified });
        }
        Ok(Programs(loaded))
    }

    /// One of them.
    pub(super) fn of(&self, program: Program) -> Result<BorrowedFd<'_>, KernelError> {
        let found = self.0.iter().find(|loaded| loaded.program == program);
        let missing = || KernelError::Program { hook: program.name, what: "the object has no such program".into() };
        Ok(found.ok_or_else(missing)?.fd.as_fd())
    }

    /// How many instructions the verifier went through for each.
    pub(super) fn verified(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().map(|loaded| (loaded.program.name, loaded.verified))
    }
}
