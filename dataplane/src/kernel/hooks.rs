//! The hooks of a cgroup: which programs the sockets below it meet, and in which order those are exchanged.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use bowline_sys as sys;

use super::links::{self, AttachPoint, Attachment, Cgroup, Link, pin_of};
use super::{KernelError, path_error};

/// A hook of the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Its name, its program's and its pin's.
    pub(crate) name: &'static str,
    /// `enum bpf_attach_type`.
    attach_type: u32,
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

impl Hook {
    fn of<'a>(&self, cgroup: &'a Cgroup) -> AttachPoint<'a> {
        AttachPoint::Cgroup { cgroup, attach_type: self.attach_type }
    }

    /// The pinned link of this hook; None where there is none.
    fn link(&self, root: &Path) -> Result<Option<Link>, KernelError> {
        Link::open(&pin_of(root, self.name))
    }
}

/// Puts the programs behind the hooks of a cgroup, one by one, each in one step ([`links::attach`]).
///
/// # Errors
/// A hook can't be attached. Then all hooks are as they were.
pub(crate) fn attach(object: &Ebpf, root: &Path, cgroup: &Path) -> Result<(), KernelError> {
    let cgroup = Cgroup::open(cgroup)?;
    let attachment =
        |hook: &Hook| Ok(Attachment { name: hook.name, point: hook.of(&cgroup), program: program(object, hook)? });
    let all: Vec<Attachment<'_>> = HOOKS.iter().map(attachment).collect::<Result<_, KernelError>>()?;
    links::attach(root, &all)
}

fn program<'a>(object: &'a Ebpf, hook: &Hook) -> Result<BorrowedFd<'a>, KernelError> {
    let refused = |what: String| KernelError::Program { hook: hook.name, what };
    let program = object.program(hook.name).ok_or_else(|| refused("the object has no such program".into()))?;
    Ok(program.fd().map_err(|error| refused(error.to_string()))?.as_fd())
}

/// The ids of the maps that the program behind a pinned link uses; none where there is no such link, or its
/// cgroup is gone.
///
/// # Errors
/// It can't be told: then nothing may be taken for unused.
pub(crate) fn maps_of_hook(root: &Path, hook: &str) -> Result<Vec<u32>, KernelError> {
    let pin = pin_of(root, hook);
    match Link::open(&pin)? {
        Some(link) if !link.is_gone() => {
            sys::maps_of_program(link.program()).map_err(path_error(&pin, "reading which maps its program uses"))
        }
        _ => Ok(Vec::new()),
    }
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
    let opened = Cgroup::open(cgroup)?;
    let mut foreign = Vec::new();
    for hook in HOOKS {
        let pinned = hook.link(root).ok().flatten();
        let programs =
            opened.programs(hook.attach_type).map_err(path_error(cgroup, "asking for the programs of the cgroup"))?;
        let is_foreign =
            |(id, name): &(u32, String)| name == hook.name && pinned.as_ref().is_none_or(|link| link.program() != *id);
        if programs.iter().any(is_foreign) {
            foreign.push(hook.name);
        }
    }
    Ok(foreign)
}

/// Whether every hook of the cgroup is behind a pinned link: not so once the cgroup was removed, or made
/// again under the same name.
pub(crate) fn is_attached(root: &Path, cgroup: &Path) -> bool {
    let Ok(cgroup) = Cgroup::open(cgroup) else { return false };
    HOOKS.iter().all(|hook| hook.link(root).is_ok_and(|link| link.is_some_and(|link| link.is_at(&hook.of(&cgroup)))))
}
