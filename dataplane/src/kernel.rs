//! The kernel's side of one agent: the object with programs and maps, where they are pinned, and the
//! hooks that run them.
//!
//! ```text
//! <bpf-root>/layout-<version>-<sizes>/<map>    the maps of one layout and one set of sizes
//! <bpf-root>/links/<hook>                      the links; their programs are exchanged, they stay
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use bowline_ebpf::layout::VERSION;

use crate::features::features;
use crate::records::{OURS, Records};
use bowline_sys::{self as sys, Map};

/// The object that build.rs made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bowline.bpf.o"));

/// What can go wrong with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A path can't be used.
    #[error("{}: {what}: {error}", path.display())]
    Path {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The object isn't taken.
    #[error("the kernel refuses the maps or the object: {0}; `bowline check` tells what is missing")]
    Object(#[from] aya::EbpfError),
    /// A program isn't taken.
    #[error("hook {hook}: {what}; `bowline check` tells what is missing")]
    Program {
        /// Which one.
        hook: &'static str,
        /// The end of what the verifier said, or the error.
        what: String,
    },
    /// A pinned map isn't what its name says.
    #[error(
        "{}: a map of another shape ({found}) than this layout's ({wanted}); \
         stop the agent and run `bowline cleanup`", path.display()
    )]
    Shape {
        /// Where it is pinned.
        path: PathBuf,
        /// Its shape.
        found: String,
        /// What it should be.
        wanted: String,
    },
}

pub(crate) fn path_error<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> KernelError + 'a {
    move |error| KernelError::Path { path: path.to_owned(), what, error }
}

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Front ends: addresses times ports.
    pub frontends: u32,
    /// Service ports, a family each; one less than the array.
    pub services: u32,
    /// Backends of all of them; one less than the array.
    pub backends: u32,
    /// Words of the arena; a power of two, at most 2^20.
    pub slots: u32,
    /// Open sockets that were translated.
    pub sockets: u32,
    /// Clients with affinity.
    pub affinity: u32,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            frontends: 131_072,
            services: 65_536,
            backends: 262_144,
            slots: 1 << 20,
            sockets: 1_048_576,
            affinity: 65_536,
        }
    }
}

impl Sizes {
    fn entries(&self) -> [(&'static str, u32); 6] {
        [
            ("frontends", self.frontends),
            ("services", self.services),
            ("backends", self.backends),
            ("sockets", self.sockets),
            ("affinity", self.affinity),
            ("names", self.services),
        ]
    }

    /// A short mark that tells these sizes from others.
    fn mark(&self) -> u32 {
        let bytes = self.entries().into_iter().flat_map(|(_, n)| n.to_ne_bytes());
        bytes.fold(0x811c_9dc5, |h: u32, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
    }

    /// The name of the folder in which maps of this layout and these sizes are pinned.
    pub(crate) fn folder(&self) -> String {
        format!("layout-{VERSION}-{:08x}", self.mark())
    }
}

/// A hook of the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Its name, its program's and its pin's.
    pub(crate) name: &'static str,
    /// `enum bpf_attach_type`.
    pub(crate) attach_type: u32,
}

/// The hooks, in the order in which they get a new program: first those that recognise what was
/// translated, then those that translate.
pub(crate) const HOOKS: [Hook; 9] = [
    Hook { name: "recvmsg4", attach_type: 19 },
    Hook { name: "recvmsg6", attach_type: 20 },
    Hook { name: "getpeername4", attach_type: 29 },
    Hook { name: "getpeername6", attach_type: 30 },
    Hook { name: "sock_release", attach_type: 34 },
    Hook { name: "connect4", attach_type: 10 },
    Hook { name: "connect6", attach_type: 11 },
    Hook { name: "sendmsg4", attach_type: 14 },
    Hook { name: "sendmsg6", attach_type: 15 },
];

const MAPS: [&str; 11] = [
    "frontends",
    "services",
    "slots",
    "backends",
    "affinity",
    "sockets",
    "names",
    "layout",
    "verdicts",
    "alive",
    "life",
];

/// A folder of pinned maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// One of its maps.
    ///
    /// # Errors
    /// It isn't there, or what bpf(2) says.
    pub(crate) fn map(&self, name: &str) -> Result<Map, KernelError> {
        let path = self.0.join(name);
        Map::open(&path).map_err(path_error(&path, "opening the pinned map"))
    }

    /// The layout of its maps; None where it has none yet, since an agent was killed while it made them.
    ///
    /// # Errors
    /// As of [`Folder::map`].
    pub(crate) fn records(&self) -> Result<Option<Records>, KernelError> {
        let path = self.0.join("layout");
        let map = match Map::open(&path) {
            Ok(map) => map,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(path_error(&path, "opening the pinned map")(error)),
        };
        let value = map.get(&0u32.to_ne_bytes()).map_err(path_error(&path, "reading"))?;
        Ok(value.as_deref().and_then(Records::described_by))
    }

    /// Unpins all of it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove(&self) -> Result<(), KernelError> {
        for entry in fs::read_dir(&self.0).map_err(path_error(&self.0, "listing"))?.flatten() {
            let path = entry.path();
            fs::remove_file(&path).map_err(path_error(&path, "unpinning"))?;
        }
        fs::remove_dir(&self.0).map_err(path_error(&self.0, "removing"))
    }
}

/// Whether a folder is named as [`Sizes::folder`] does, of this version or another.
fn is_layout(name: &str) -> bool {
    let parts = name.strip_prefix("layout-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(version, sizes)| {
        version.parse::<u32>().is_ok() && sizes.len() == 8 && sizes.chars().all(|c| c.is_ascii_hexdigit())
    })
}

/// The folders of layouts below a root.
///
/// # Errors
/// The root can't be listed.
pub(crate) fn folders(root: &Path) -> Result<Vec<Folder>, KernelError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(path_error(root, "listing"))?.flatten() {
        if is_layout(&entry.file_name().to_string_lossy()) {
            found.push(Folder(entry.path()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The ids of the maps that the program behind a pinned link uses; none where there is no such link, or its
/// cgroup is gone.
///
/// # Errors
/// It can't be told: then nothing may be taken for unused.
pub(crate) fn maps_of_hook(root: &Path, hook: &str) -> Result<Vec<u32>, KernelError> {
    let pin = root.join("links").join(hook);
    let link = match sys::open_pin(&pin) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(path_error(&pin, "opening the pinned link")(error)),
    };
    let info = sys::link_info(&link).map_err(path_error(&pin, "reading the link"))?;
    if info.cgroup == 0 {
        return Ok(Vec::new());
    }
    sys::maps_of_program(info.program).map_err(path_error(&pin, "reading which maps its program uses"))
}

/// The ids of the maps that the programs behind the pinned links use, sorted.
///
/// # Errors
/// As of [`maps_of_hook`].
pub(crate) fn maps_in_use(root: &Path) -> Result<Vec<u32>, KernelError> {
    let mut ids = Vec::new();
    for hook in HOOKS {
        ids.extend(maps_of_hook(root, hook.name)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Hooks of a cgroup that run a program of ours which is not pinned below `root`: an agent that had another
/// --bpf-root left it there, and it would decide before this one's.
///
/// # Errors
/// The cgroup can't be asked.
pub(crate) fn foreign_hooks(root: &Path, cgroup: &Path) -> Result<Vec<&'static str>, KernelError> {
    let folder = fs::File::open(cgroup).map_err(path_error(cgroup, "opening the cgroup"))?;
    let mut foreign = Vec::new();
    for hook in HOOKS {
        let pinned = sys::open_pin(&root.join("links").join(hook.name)).and_then(sys::link_info).ok();
        let programs = sys::programs_of_cgroup(&folder, hook.attach_type)
            .map_err(path_error(cgroup, "asking for the programs of the cgroup"))?;
        let is_foreign = |(id, name): &(u32, String)| name == hook.name && pinned.is_none_or(|p| p.program != *id);
        if programs.iter().any(is_foreign) {
            foreign.push(hook.name);
        }
    }
    Ok(foreign)
}

/// Whether every hook of the cgroup is behind a pinned link: not so once the cgroup was removed, or made
/// again under the same name.
pub(crate) fn is_attached(root: &Path, cgroup: &Path) -> bool {
    let Ok(id) = fs::metadata(cgroup).map(|m| m.ino()) else { return false };
    let links = root.join("links");
    HOOKS.iter().all(|hook| {
        let info = sys::open_pin(&links.join(hook.name)).and_then(sys::link_info);
        info.is_ok_and(|info| info.cgroup == id)
    })
}

/// Makes the maps of a layout, pinned in a folder, or opens those that are there.
///
/// # Errors
/// The kernel refuses them, or those that are there have another shape.
pub(crate) fn make_maps(folder: &Folder, sizes: &Sizes) -> Result<(), KernelError> {
    fs::create_dir_all(&folder.0).map_err(path_error(&folder.0, "creating"))?;
    loader(folder, sizes, &features(), None).load(OBJECT)?;
    let wanted = [
        ("frontends", 1, 20, 8, sizes.frontends),
        ("services", 2, 4, service_size(), sizes.services),
        ("backends", 2, 4, OURS.at(bowline_ebpf::describe::Field::BackendSize), sizes.backends),
        ("slots", 2, 4, bowline_ebpf::layout::SLOTS as usize * 4, 1),
    ];
    for (name, kind, key, value, entries) in wanted {
        let map = folder.map(name)?;
        let found = (map.kind(), map.key_size(), map.value_size(), map.max_entries());
        if found != (kind, key, value, entries) {
            return Err(KernelError::Shape {
                path: folder.0.join(name),
                found: format!("{found:?}"),
                wanted: format!("{:?}", (kind, key, value, entries)),
            });
        }
    }
    let path = folder.0.join("layout");
    folder.map("layout")?.put(&0u32.to_ne_bytes(), &OURS.description()).map_err(path_error(&path, "writing"))
}

fn service_size() -> usize {
    OURS.at(bowline_ebpf::describe::Field::ServiceSize)
}

fn loader<'a>(
    folder: &Folder,
    sizes: &Sizes,
    features: &'a u32,
    previous: Option<(&'a Folder, &'a [u8])>,
) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global("FEATURES", features, true);
    for name in MAPS {
        loader.map_pin_path(name, folder.0.join(name));
    }
    for (name, entries) in sizes.entries() {
        loader.map_max_entries(name, entries);
    }
    if let Some((other, description)) = previous {
        loader.map_pin_path("other_sockets", other.0.join("sockets"));
        loader.map_pin_path("other_affinity", other.0.join("affinity"));
        loader.override_global("PREVIOUS", description, true);
    }
    loader
}

/// Loads the programs over the maps of a folder; with `previous` they read the sockets and the affinity
/// of that other layout too.
///
/// # Errors
/// The verifier's word, whose whole log is kept in a file.
pub(crate) fn load_programs(
    folder: &Folder,
    sizes: &Sizes,
    previous: Option<(&Folder, &Records)>,
) -> Result<Ebpf, KernelError> {
    let description = previous.map(|(_, records)| records.description());
    let previous = previous.zip(description.as_deref()).map(|((folder, _), bytes)| (folder, bytes));
    let features = features();
    let mut object = loader(folder, sizes, &features, previous).load(OBJECT)?;
    for hook in HOOKS {
        let refused = |what: String| KernelError::Program { hook: hook.name, what };
        let loaded = match object.program_mut(hook.name) {
            Some(Program::CgroupSockAddr(p)) => p.load(),
            Some(Program::CgroupSock(p)) => p.load(),
            _ => return Err(refused("the object has no such program".into())),
        };
        loaded.map_err(|error| refused(explain(hook.name, &error)))?;
    }
    Ok(object)
}

/// The end of the verifier's log, which says what it refused; the whole goes to a file.
fn explain(hook: &str, error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.to_string() };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(12)..].join("\n  ");
    let file = std::env::temp_dir().join(format!("bowline-verifier-{hook}.log"));
    let kept = match fs::write(&file, &log) {
        Ok(()) => format!("the whole log is in {}", file.display()),
        Err(error) => format!("the whole log could not be kept: {error}"),
    };
    format!("the verifier refuses the program ({io_error}); {kept}; it ends with:\n  {end}")
}

/// How many instructions the verifier went through for each hook, of a million that it allows.
pub(crate) fn verified_instructions(object: &Ebpf) -> BTreeMap<&'static str, u32> {
    HOOKS
        .iter()
        .filter_map(|hook| {
            let info = object.program(hook.name)?.info().ok()?;
            Some((hook.name, info.verified_instruction_count()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
