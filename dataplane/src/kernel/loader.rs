//! The object with maps and programs, and how it comes into the kernel.

use std::collections::BTreeMap;
use std::fs;

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use bowline_ebpf::describe::Field;
use bowline_ebpf::layout::SLOTS;

use super::{Folder, HOOKS, KernelError, Sizes, path_error};
use crate::features::features;
use crate::records::{OURS, Records};

/// The object that build.rs made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bowline.bpf.o"));

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

/// Makes the maps of a layout, pinned in a folder, or opens those that are there.
///
/// # Errors
/// The kernel refuses them, or those that are there have another shape.
pub(crate) fn make_maps(folder: &Folder, sizes: &Sizes) -> Result<(), KernelError> {
    fs::create_dir_all(&folder.0).map_err(path_error(&folder.0, "creating"))?;
    loader(folder, sizes, &features(), &0, None).load(OBJECT)?;
    let wanted = [
        ("frontends", 1, OURS.at(Field::FrontendKeySize), OURS.at(Field::FrontendSize), sizes.frontends),
        ("services", 2, 4, OURS.at(Field::ServiceSize), sizes.services),
        ("backends", 2, 4, OURS.at(Field::BackendSize), sizes.backends),
        ("slots", 2, 4, SLOTS as usize * 4, 1),
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

fn loader<'a>(
    folder: &Folder,
    sizes: &Sizes,
    features: &'a u32,
    netns: &'a u64,
    previous: Option<(&'a Folder, &'a [u8])>,
) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global("FEATURES", features, true);
    loader.override_global("NODE_NETNS", netns, true);
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
    // Without it, ports of the node are not had at its loopback.
    let netns = bowline_sys::netns_cookie().unwrap_or_default();
    let mut object = loader(folder, sizes, &features, &netns, previous).load(OBJECT)?;
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
pub(crate) fn explain(hook: &str, error: &ProgramError) -> String {
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
