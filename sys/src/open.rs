//! Who has a file open.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Of linux/fcntl.h; libc lacks it for some targets.
const F_SETSIG: libc::c_int = 10;

/// Whether somebody has this file, which must be open for reading only, open for writing. None where the kernel can't tell
/// (a network file system, or a file of another user without CAP_LEASE).
///
/// By a read lease (fcntl(2), F_SETLEASE), which the kernel gives only where nobody can write, and which is given back at
/// once.
pub fn is_written(file: &File) -> Option<bool> {
    let fd = file.as_raw_fd();
    // Somebody may open it for writing within the few microseconds: they wait for us, and we are told by a signal that is
    // ignored unless somebody asks for it. SIGIO, the usual one, would end the process.
    // SAFETY: F_SETSIG takes a number; the descriptor is open, as `file` is.
    if unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } < 0 {
        return None;
    }
    // SAFETY: F_SETLEASE takes a number.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    let error = std::io::Error::last_os_error();
    (error.raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}
