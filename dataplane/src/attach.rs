//! Programs behind the hooks of a cgroup: all of them, or, where one can't be put there, what was there before.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::{CgroupAttachMode, Program, ProgramError};
use bowline_sys as sys;

use crate::kernel::{HOOKS, Hook, KernelError, path_error};

/// Puts the programs behind the hooks of a cgroup, one by one, each in one step. Links that are pinned
/// stay; one whose cgroup is gone or another is made anew.
///
/// # Errors
/// A hook can't be attached. Then all hooks are as they were.
pub(crate) fn attach(object: &mut Ebpf, root: &Path, cgroup: &Path) -> Result<(), KernelError> {
    let links = root.join("links");
    fs::create_dir_all(&links).map_err(path_error(&links, "creating"))?;
    let folder = fs::File::open(cgroup).map_err(path_error(cgroup, "opening the cgroup"))?;
    let id = folder.metadata().map_err(path_error(cgroup, "reading the cgroup's inode"))?.ino();
    let mut undo = Undo(Vec::new());
    for hook in HOOKS {
        let pin = links.join(hook.name);
        if !exchange(object, &hook, &pin, id, &mut undo)? {
            make_link(object, &hook, &pin, &folder)?;
            undo.0.push(Done::Made(pin));
        }
    }
    // The last: from here on nothing fails, and links of cgroups that are not served any more go.
    undo.0.clear();
    Ok(())
}

/// What was done so far; dropped with anything in it, it takes that back, the last first.
struct Undo(Vec<Done>);

enum Done {
    /// A link was made and pinned here.
    Made(PathBuf),
    /// A link got another program than this.
    Exchanged { link: OwnedFd, program: OwnedFd, pin: PathBuf },
    /// A link of another cgroup was unpinned; it lives as long as this.
    Unpinned { link: OwnedFd, pin: PathBuf },
}

impl Drop for Undo {
    fn drop(&mut self) {
        for done in self.0.drain(..).rev() {
            let (pin, undone) = match done {
                Done::Made(pin) => (pin.clone(), fs::remove_file(&pin)),
                Done::Exchanged { link, program, pin } => (pin, sys::link_update(&link, &program)),
                Done::Unpinned { link, pin } => (pin.clone(), sys::pin(&link, &pin)),
            };
            if let Err(error) = undone {
                tracing::warn!(pin = %pin.display(), %error, "a hook is not as it was before");
            }
        }
    }
}

/// Exchanges the program behind a pinned link; false: there is none for this cgroup.
fn exchange(object: &Ebpf, hook: &Hook, pin: &Path, cgroup: u64, undo: &mut Undo) -> Result<bool, KernelError> {
    let link = match sys::open_pin(pin) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(path_error(pin, "opening the pinned link")(error)),
    };
    let info = sys::link_info(&link).map_err(path_error(pin, "reading the link"))?;
    if info.cgroup == cgroup && info.attach_type == hook.attach_type {
        let before = sys::program(info.program).map_err(path_error(pin, "opening the link's program"))?;
        let program = program_fd(object, hook)?;
        match sys::link_update(&link, program) {
            Ok(()) => {
                undo.0.push(Done::Exchanged { link, program: before, pin: pin.to_owned() });
                return Ok(true);
            }
            // Its cgroup was removed in this moment.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
            Err(error) => return Err(path_error(pin, "exchanging the program")(error)),
        }
    }
    tracing::warn!(pin = %pin.display(), cgroup = info.cgroup, "detaching from a cgroup that is gone or not this one");
    fs::remove_file(pin).map_err(path_error(pin, "unpinning a link of another cgroup"))?;
    undo.0.push(Done::Unpinned { link, pin: pin.to_owned() });
    Ok(false)
}

fn program_fd<'a>(object: &'a Ebpf, hook: &Hook) -> Result<std::os::fd::BorrowedFd<'a>, KernelError> {
    let refused = |what: String| KernelError::Program { hook: hook.name, what };
    let program = object.program(hook.name).ok_or_else(|| refused("the object has no such program".into()))?;
    Ok(program.fd().map_err(|error| refused(error.to_string()))?.as_fd())
}

fn make_link(object: &mut Ebpf, hook: &Hook, pin: &Path, cgroup: &fs::File) -> Result<(), KernelError> {
    let refused = |what: String| KernelError::Program { hook: hook.name, what };
    let program = |error: ProgramError| KernelError::Program { hook: hook.name, what: error.to_string() };
    // A link is always one of several: other programs of the cgroup stay.
    let mode = CgroupAttachMode::Single;
    let link: aya::programs::links::FdLink = match object.program_mut(hook.name) {
        Some(Program::CgroupSockAddr(p)) => {
            let id = p.attach(cgroup, mode).map_err(program)?;
            p.take_link(id).map_err(program)?.try_into().map_err(|e| refused(format!("{e}")))?
        }
        Some(Program::CgroupSock(p)) => {
            let id = p.attach(cgroup, mode).map_err(program)?;
            p.take_link(id).map_err(program)?.try_into().map_err(|e| refused(format!("{e}")))?
        }
        _ => return Err(refused("the object has no such program".into())),
    };
    link.pin(pin).map(|_| ()).map_err(|error| refused(format!("pinning the link at {}: {error}", pin.display())))
}
