//! Programs at attach points: a cgroup, a device's packets. Each hangs on a link, which is pinned, so that it outlives
//! the agent; a newer program takes the older one's place in the same link, in one step for every packet and socket.
//!
//! ```text
//! <bpf-root>/links/<program>            of the cgroup
//! <bpf-root>/links/<program>@<index>    of a device
//! ```
//! A link whose cgroup or device is gone stays pinned, and does nothing, not even for a new device with the same index.
//! The next program that is attached there gets a new link in its place.
//!
//! Where the kernel has no tcx, programs for socket buffers are filters instead (`filters.rs`): attached, exchanged,
//! undone and cleaned up by the same calls.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bowline_net::Direction;
use bowline_sys as sys;
use bowline_sys::LinkInfo;

use super::filters::{self, FilterPoint};
use super::{KernelError, path_error};
use crate::features::has_tcx;

/// A cgroup.
#[derive(Debug)]
pub struct Cgroup {
    folder: File,
    /// Of its folder: what a link knows it by. One that is made anew under the same name has another.
    inode: u64,
}

impl Cgroup {
    /// Opens it.
    ///
    /// # Errors
    /// It isn't there.
    pub fn open(path: &Path) -> Result<Cgroup, KernelError> {
        let folder = File::open(path).map_err(path_error(path, "opening the cgroup"))?;
        let inode = folder.metadata().map_err(path_error(path, "reading the cgroup's inode"))?.ino();
        Ok(Cgroup { folder, inode })
    }

    fn target(&self) -> u32 {
        self.folder.as_raw_fd() as u32
    }

    /// The programs that it runs at a hook, ours and others': their ids and names.
    pub(super) fn programs(&self, attach_type: u32) -> io::Result<Vec<(u32, String)>> {
        sys::programs_at(self.target(), attach_type)
    }
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum AttachPoint<'a> {
    /// A hook for the sockets of the processes below a cgroup.
    Cgroup {
        /// Which.
        cgroup: &'a Cgroup,
        /// `enum bpf_attach_type`.
        attach_type: u32,
    },
    /// The packets of a device.
    Device {
        /// Its index in the network namespace of the thread that attaches. It stays there: a device that is moved takes
        /// its programs along, and a link doesn't tell which namespace its index is of.
        index: u32,
        /// Which packets, and when.
        hook: DeviceHook,
    },
}

/// Where the packets of a device meet a program; the numbers are those of `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceHook {
    /// Received, before there is a socket buffer. One program a device.
    Xdp = 37,
    /// Received, as a socket buffer. Before Linux 6.6 a filter.
    TcxIngress = 46,
    /// About to be sent, as a socket buffer. Before Linux 6.6 a filter.
    TcxEgress = 47,
}

impl AttachPoint<'_> {
    fn attach_type(&self) -> u32 {
        match self {
            AttachPoint::Cgroup { attach_type, .. } => *attach_type,
            AttachPoint::Device { hook, .. } => *hook as u32,
        }
    }

    /// What a link that is attached here says of its target.
    fn target(&self) -> u64 {
        match self {
            AttachPoint::Cgroup { cgroup, .. } => cgroup.inode,
            AttachPoint::Device { index, .. } => u64::from(*index),
        }
    }

    fn attach(&self, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let target = match self {
            AttachPoint::Cgroup { cgroup, .. } => cgroup.target(),
            AttachPoint::Device { index, .. } => *index,
        };
        sys::link_create(program, target, self.attach_type())
    }
}

impl fmt::Display for AttachPoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachPoint::Cgroup { .. } => f.write_str("the cgroup"),
            AttachPoint::Device { index, hook } => write!(f, "device {index} ({hook:?})"),
        }
    }
}

/// A program for an attach point.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The program's name, as the kernel knows it.
    pub name: &'a str,
    /// Where it belongs.
    pub point: AttachPoint<'a>,
    /// The program, loaded.
    pub program: BorrowedFd<'a>,
}

impl Attachment<'_> {
    /// Where its link is pinned.
    fn pin(&self, root: &Path) -> PathBuf {
        match self.point {
            AttachPoint::Cgroup { .. } => pin_of(root, self.name),
            AttachPoint::Device { index, .. } => device_pin(root, self.name, index),
        }
    }

    /// The filter that it is where the kernel has no tcx; None where it is a link.
    fn filter(&self, root: &Path) -> Option<FilterPoint> {
        match self.point {
            AttachPoint::Device { index, hook } => filter_of(index, hook, &self.pin(root)),
            AttachPoint::Cgroup { .. } => None,
        }
    }

    fn error(&self, error: io::Error) -> KernelError {
        KernelError::Attach { name: self.name.to_owned(), point: self.point.to_string(), error }
    }
}

/// The folder of the links below a root.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("links")
}

/// Where the link of a program of the cgroup is pinned.
pub(super) fn pin_of(root: &Path, name: &str) -> PathBuf {
    folder(root).join(name)
}

/// Where the link of a program of a device is pinned.
fn device_pin(root: &Path, name: &str, index: u32) -> PathBuf {
    pin_of(root, &format!("{name}@{index}"))
}

/// The filter that a program of a device is where the kernel has no tcx; None where it is a link.
fn filter_of(device: u32, hook: DeviceHook, pin: &Path) -> Option<FilterPoint> {
    let direction = match hook {
        DeviceHook::TcxIngress => Direction::Ingress,
        DeviceHook::TcxEgress => Direction::Egress,
        DeviceHook::Xdp => return None,
    };
    (!has_tcx()).then(|| FilterPoint { device, direction, name: pin.to_owned() })
}

/// A link that is pinned.
#[derive(Debug)]
pub(super) struct Link {
    link: OwnedFd,
    pin: PathBuf,
    info: LinkInfo,
}

impl Link {
    /// Opens it; None where nothing is pinned there.
    ///
    /// # Errors
    /// What is pinned there is no link, or can't be opened.
    pub(super) fn open(pin: &Path) -> Result<Option<Link>, KernelError> {
        let link = match sys::open_pin(pin) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(path_error(pin, "opening the pinned link")(error)),
        };
        let info = sys::link_info(&link).map_err(path_error(pin, "reading the link"))?;
        Ok(Some(Link { link, pin: pin.to_owned(), info }))
    }

    /// Whether its cgroup or device is gone: it does nothing any more.
    pub(super) fn is_gone(&self) -> bool {
        self.info.target == 0
    }

    /// The id of its program.
    pub(super) fn program(&self) -> u32 {
        self.info.program
    }

    /// Whether it is attached here.
    pub(super) fn is_at(&self, point: &AttachPoint<'_>) -> bool {
        (self.info.target, self.info.attach_type) == (point.target(), point.attach_type())
    }

    /// Whether it is ours: it has the name of its program.
    fn is_ours(&self) -> bool {
        let name = self.pin.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        // The kernel keeps 15 bytes of a program's name.
        sys::program_name(self.info.program).is_ok_and(|program| program == name.get(..15).unwrap_or(name))
    }
}

/// Whether a program of this name is attached where it belongs: not so once the cgroup or the device is gone.
///
/// # Errors
/// It can't be told.
pub fn is_attached(root: &Path, attachment: &Attachment<'_>) -> Result<bool, KernelError> {
    match attachment.filter(root) {
        Some(filter) => Ok(filter.program().map_err(|error| attachment.error(error))?.is_some()),
        None => Ok(Link::open(&attachment.pin(root))?.is_some_and(|link| link.is_at(&attachment.point))),
    }
}

/// Takes a program away from a device; nothing, where it isn't or the device is gone. Of a link this waits until no packet
/// meets the program any more, some milliseconds.
///
/// # Errors
/// The file system's, or the kernel's.
pub(crate) fn detach(root: &Path, name: &str, index: u32, hook: DeviceHook) -> Result<(), KernelError> {
    let pin = device_pin(root, name, index);
    if let Some(link) = Link::open(&pin)? {
        if !link.is_gone() {
            // Unpinned alone, it would be there for a moment more, and the same program could not be attached.
            sys::link_detach(&link.link).map_err(path_error(&pin, "detaching"))?;
        }
        fs::remove_file(&pin).map_err(path_error(&pin, "unpinning"))?;
    }
    if let Some(filter) = filter_of(index, hook, &pin) {
        match filter.remove() {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)) => {
                return Err(path_error(&pin, "removing the filter")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Unpins the links of these programs whose devices are gone: they hold programs and maps, and do nothing.
///
/// # Errors
/// The file system's.
pub(crate) fn sweep(root: &Path, names: &[&str]) -> Result<(), KernelError> {
    let folder = folder(root);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(path_error(&folder, "listing")(error)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_one = name.split_once('@').is_some_and(|(name, _)| names.contains(&name));
        if is_one && Link::open(&entry.path())?.is_some_and(|link| link.is_gone() && link.is_ours()) {
            fs::remove_file(entry.path()).map_err(path_error(&entry.path(), "unpinning"))?;
        }
    }
    Ok(())
}

/// Detaches all programs of ours below a root, whichever version of Bowline attached them. Tells `note` of each, by its
/// pin or the path that it would have, and goes on after an error.
pub(crate) fn detach_all(root: &Path, mut note: impl FnMut(&Path, Result<(), KernelError>)) {
    let folder = folder(root);
    match fs::read_dir(&folder) {
        Ok(entries) => {
            let pins: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            for pin in
                pins.iter().filter(|pin| Link::open(pin).is_ok_and(|link| link.is_some_and(|link| link.is_ours())))
            {
                note(pin, fs::remove_file(pin).map_err(path_error(pin, "unpinning")));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => note(&folder, Err(path_error(&folder, "listing")(error))),
    }
    if !has_tcx() {
        match filters::below(&folder) {
            Ok(found) => found.iter().for_each(|filter| {
                note(&filter.name, filter.remove().map_err(path_error(&filter.name, "removing the filter")));
            }),
            Err(error) => note(&folder, Err(path_error(&folder, "looking for filters of devices")(error))),
        }
    }
    // Others' pins keep it.
    let _ = fs::remove_dir(&folder);
}

/// Puts programs at their attach points, one by one, each in one step. A link that is pinned there already stays and
/// gets the new program. One whose cgroup or device is gone or another is made anew.
///
/// # Errors
/// One of them can't be attached. Then all is as it was.
pub fn attach(root: &Path, all: &[Attachment<'_>]) -> Result<(), KernelError> {
    let folder = folder(root);
    fs::create_dir_all(&folder).map_err(path_error(&folder, "creating"))?;
    let mut undo = Undo(Vec::new());
    for one in all {
        if let Some(filter) = one.filter(root) {
            let before = filter.put(one.program).map_err(|error| one.error(error))?;
            undo.0.push(Done::Filtered(filter, before));
            continue;
        }
        let pin = one.pin(root);
        if !exchange(one, &pin, &mut undo)? {
            let link = one.point.attach(one.program).map_err(|error| one.error(error))?;
            sys::pin(&link, &pin).map_err(path_error(&pin, "pinning the link"))?;
            undo.0.push(Done::Made(pin));
        }
    }
    // The last: from here on nothing fails, and links of what is not served any more go.
    undo.0.clear();
    Ok(())
}

/// What was done so far; dropped with anything in it, it takes that back, the last first.
struct Undo(Vec<Done>);

enum Done {
    /// A link was made and pinned here.
    Made(PathBuf),
    /// A link got another program than this.
    Exchanged(Link, OwnedFd),
    /// A link of another cgroup or device was unpinned; it lives as long as this.
    Unpinned(Link),
    /// A filter got a program, and had this one before.
    Filtered(FilterPoint, Option<OwnedFd>),
}

impl Drop for Undo {
    fn drop(&mut self) {
        for done in self.0.drain(..).rev() {
            let (pin, undone) = match done {
                Done::Made(pin) => (pin.clone(), fs::remove_file(&pin)),
                Done::Exchanged(Link { link, pin, .. }, program) => (pin, sys::link_update(&link, &program)),
                Done::Unpinned(Link { link, pin, .. }) => (pin.clone(), sys::pin(&link, &pin)),
                Done::Filtered(filter, None) => (filter.name.clone(), filter.remove()),
                Done::Filtered(filter, Some(program)) => (filter.name.clone(), filter.put(program.as_fd()).map(|_| ())),
            };
            if let Err(error) = undone {
                tracing::warn!(pin = %pin.display(), %error, "a hook is not as it was before");
            }
        }
    }
}

/// Exchanges the program behind a pinned link; false: there is none at this point, or not any more.
fn exchange(one: &Attachment<'_>, pin: &Path, undo: &mut Undo) -> Result<bool, KernelError> {
    let Some(link) = Link::open(pin)? else { return Ok(false) };
    if link.is_at(&one.point) {
        let before = sys::program(link.program()).map_err(path_error(pin, "opening the link's program"))?;
        match sys::link_update(&link.link, one.program) {
            Ok(()) => {
                undo.0.push(Done::Exchanged(link, before));
                return Ok(true);
            }
            // Its cgroup or device was removed in this moment.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
            Err(error) => return Err(path_error(pin, "exchanging the program")(error)),
        }
    }
    tracing::warn!(pin = %pin.display(), target = link.info.target, "detaching from what is gone, or not to be served");
    fs::remove_file(pin).map_err(path_error(pin, "unpinning a link of something else"))?;
    undo.0.push(Done::Unpinned(link));
    Ok(false)
}
