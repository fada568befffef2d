//! What the kernel knows of a network namespace: interfaces, addresses, routes, neighbours and filters, asked and changed by
//! rtnetlink.
//!
//! ```text
//! links        interfaces: made, changed, removed     addresses   theirs
//! routes       where packets go                        neighbours  who is at the other end of a link
//! filter       programs at a device's clsact           watch       tells that something has changed
//! shaper       how fast an interface sends
//! ```
//!
//! The library speaks asynchronously; those who use this don't. Each [`Net`] has a socket and a runtime of its own, on the
//! thread that calls: nothing runs in between.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use futures_util::StreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Runtime};

mod addresses;
mod filter;
mod links;
mod neighbours;
mod routes;
mod shaper;
#[cfg(test)]
mod tests;
mod watch;

pub use filter::{Direction, Filter};
pub use links::{Kind, Link, Mac, Veth, Vxlan};
pub use neighbours::{Forward, Neighbour, Proxy};
pub use routes::{BOWLINE, Route, Way};
pub use watch::{Waker, Watch};

/// ENODEV: the interface is gone, or there is none of this name.
pub const ENODEV: i32 = 19;
/// EEXIST: the name is taken, or what is added is there.
pub const EEXIST: i32 = 17;
/// ENOENT and ESRCH: what is removed is not there.
pub const MISSING: [i32; 2] = [2, 3];

/// The kernel's refusals, and what went wrong on the way to it.
#[derive(Debug)]
pub struct NetError(rtnetlink::Error);

impl NetError {
    /// The errno, if the kernel refused (`man 3 errno`).
    pub fn errno(&self) -> Option<i32> {
        match &self.0 {
            rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
            _ => None,
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            rtnetlink::Error::NetlinkError(message) => write!(f, "{}", message.to_io()),
            other => write!(f, "rtnetlink: {other}"),
        }
    }
}

impl std::error::Error for NetError {}

/// A request for which nothing has to be read back.
pub(crate) struct Order {
    message: RouteNetlinkMessage,
    flags: u16,
}

/// A conversation with the kernel about one network namespace.
pub struct Net {
    runtime: Runtime,
    handle: Handle,
}

impl Net {
    /// For the network namespace of this thread, for good: what the thread enters later changes nothing.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open() -> io::Result<Net> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (connection, handle) = {
            let _entered = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection()?;
            (connection, handle)
        };
        runtime.spawn(connection);
        Ok(Net { runtime, handle })
    }

    /// For another network namespace, which is open.
    ///
    /// # Errors
    /// It is no network namespace, or can't be entered: that needs CAP_SYS_ADMIN.
    pub fn open_in(netns: BorrowedFd<'_>) -> io::Result<Net> {
        inside(netns, Net::open)?
    }

    /// Sends requests one after another without a wait between them, and then waits until all are done. The first error
    /// counts; what stands behind it was done all the same.
    pub(crate) fn tell(&self, orders: Vec<Order>) -> Result<(), NetError> {
        let mut handle = self.handle.clone();
        self.runtime.block_on(async {
            let mut answers = Vec::with_capacity(orders.len());
            for Order { message, flags } in orders {
                let mut request = NetlinkMessage::from(message);
                request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
                answers.push(handle.request(request).map_err(NetError)?);
            }
            let mut result = Ok(());
            for mut answers in answers {
                while let Some(answer) = answers.next().await {
                    if let NetlinkPayload::Error(error) = answer.payload
                        && error.code.is_some()
                    {
                        result = result.and(Err(NetError(rtnetlink::Error::NetlinkError(error))));
                    }
                }
            }
            result
        })
    }
}

/// Does something on a thread in another network namespace. A thread of its own, since one that could not come back would
/// do all that follows in the wrong place.
///
/// # Errors
/// The namespace can't be entered.
pub fn inside<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, move || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace has panicked")))
    })
}

/// Whether two open network namespaces are one.
///
/// # Errors
/// They can't be asked.
pub fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// The network namespace of this thread.
///
/// # Errors
/// /proc isn't there.
pub fn own() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// Of a request that takes away: what was not there is no error.
pub(crate) fn if_there(result: Result<(), NetError>, missing: &[i32]) -> Result<bool, NetError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.errno().is_some_and(|errno| missing.contains(&errno)) => Ok(false),
        Err(error) => Err(error),
    }
}
