//! The network namespace that a runtime names.

use std::fs::File;
use std::os::fd::OwnedFd;

use bowline_cni_protocol::CniError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What a namespace's file stands on (NSFS_MAGIC in linux/magic.h).
const NSFS: u64 = 0x6e73_6673;

/// Opens the namespace.
///
/// # Errors
/// Code 3 if nothing is there, 8 if it is no namespace, or the one that the plugin itself runs in, the node's. libcni refuses
/// that one, too, and is told otherwise in the same way: by CNI_NETNS_OVERRIDE.
pub(crate) fn open(path: &str) -> Result<OwnedFd, CniError> {
    // Not blocking: what is no namespace may be a pipe.
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
    let file = file.map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => {
            CniError::new(CniError::UNKNOWN_CONTAINER, format!("the network namespace {path} (CNI_NETNS) is gone"))
        }
        error => {
            CniError::new(CniError::IO, format!("the network namespace {path} (CNI_NETNS) can't be opened: {error}"))
        }
    })?;
    let invalid = |what: &str| CniError::new(CniError::INVALID_NETNS, format!("{path} (CNI_NETNS) {what}"));
    let system = rustix::fs::fstatfs(&file).map_err(|error| invalid(&format!("can't be looked at: {error}")))?;
    if system.f_type as u64 != NSFS {
        return Err(invalid("is not a network namespace"));
    }
    if is_own(&file) && !is_overridden() {
        return Err(invalid("is the network namespace of the node itself, not of a container"));
    }
    Ok(file)
}

fn is_own(file: &OwnedFd) -> bool {
    let Ok(own) = File::open("/proc/thread-self/ns/net") else { return false };
    let (Ok(one), Ok(other)) = (rustix::fs::fstat(file), rustix::fs::fstat(&own)) else { return false };
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn is_overridden() -> bool {
    let text = std::env::var("CNI_NETNS_OVERRIDE").unwrap_or_default();
    matches!(&*text.to_ascii_lowercase(), "1" | "t" | "true")
}
