//! Programs for packets as filters of a device: on a kernel without tcx, and where to attach must be quick. A filter has no pin; it is told by its name, which
//! is the path where a link would be pinned, and goes with its device.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bowline_net::{Direction, Net, NetError};
use bowline_sys as sys;

/// Where a filter is, or will be.
#[derive(Clone, Debug)]
pub(super) struct FilterPoint {
    /// The device's index.
    pub(super) device: u32,
    /// Which of its packets.
    pub(super) direction: Direction,
    /// The filter's name.
    pub(super) name: PathBuf,
}

fn io_error(error: NetError) -> io::Error {
    error.errno().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

impl FilterPoint {
    /// The id of the program that is there.
    pub(super) fn program(&self) -> io::Result<Option<u32>> {
        self.program_by(&Net::open()?)
    }

    fn program_by(&self, net: &Net) -> io::Result<Option<u32>> {
        let filters = net.filters(self.device, self.direction).map_err(io_error)?;
        Ok(filters.into_iter().find(|filter| Path::new(&filter.name) == self.name).map(|filter| filter.program))
    }

    /// Puts a program there, in one step; returns the one that was there.
    pub(super) fn put(&self, program: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
        let net = Net::open()?;
        let before = self.program_by(&net)?.map(sys::program).transpose()?;
        let name = self.name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        net.put_filter(self.device, self.direction, name, program).map_err(io_error)?;
        Ok(before)
    }

    /// Takes the filter away.
    pub(super) fn remove(&self) -> io::Result<()> {
        let name = self.name.to_string_lossy();
        Net::open()?.remove_filter(self.device, self.direction, &name).map(|_| ()).map_err(io_error)
    }
}

/// The filters whose names lie in a folder, at all devices of this thread's network namespace.
///
/// # Errors
/// The kernel's.
pub(super) fn below(folder: &Path) -> io::Result<Vec<FilterPoint>> {
    let net = Net::open()?;
    let mut found = Vec::new();
    for device in net.links().map_err(io_error)? {
        for direction in Direction::BOTH {
            let filters = net.filters(device.index, direction).map_err(io_error)?;
            let names = filters.into_iter().map(|filter| PathBuf::from(filter.name));
            let ours = names.filter(|name| name.parent() == Some(folder));
            found.extend(ours.map(|name| FilterPoint { device: device.index, direction, name }));
        }
    }
    Ok(found)
}
