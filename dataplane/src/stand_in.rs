//! A process on this node that takes a Service's traffic while it is well: its node's calls lead to it, and otherwise to
//! the Service's endpoints.
//!
//! It says that it is well for a short time ahead ([`Pulse`]), again and again. If it hangs, that time runs out in the
//! kernel; if it is killed, the kernel closes the socket that stands for it in the map `life`, and knows at
//! once. Nothing need be done.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bowline_cluster::object::{Family, ObjectName};
use bowline_sys::{Map, Mapped, monotonic};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::plan::{PortPlan, endpoint};

/// What stands in for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The Service.
    pub service: ObjectName,
    /// Which of its ports, TCP and UDP; the others stay with its endpoints.
    pub port: u16,
    /// Where it listens. A family without an address stays with the endpoints.
    pub at: Vec<SocketAddr>,
}

/// Puts those that stand in for a Service into the plan of its ports.
pub(crate) fn put(all: &[StandIn], service: &ObjectName, ports: &mut [PortPlan]) {
    for stand_in in all.iter().filter(|stand_in| stand_in.service == *service) {
        for plan in ports.iter_mut() {
            let is_its = plan.frontends.iter().any(|at| at.port == stand_in.port.to_be());
            let at = stand_in.at.iter().find(|at| Family::of(&at.ip()) == plan.family);
            if let Some(at) = at.filter(|_| is_its) {
                plan.stand_in = Some(endpoint(at.ip(), at.port()));
            }
        }
    }
}

/// Says to the kernel that this node's stand-ins are well.
#[derive(Debug)]
pub struct Pulse {
    alive: Mapped,
    /// Stands for this process in the map `life`.
    _life: OwnedFd,
}

impl Pulse {
    /// Over the maps `alive` and `life`. They are not well before they say so.
    pub(crate) fn new(mut alive: Mapped, life: &Map) -> io::Result<Pulse> {
        alive.reach(0, 8)?;
        alive.publish64(0, 0);
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        // A sockmap takes sockets that have a port. Connected (to tcpmux, which has no UDP server), it takes datagrams
        // from no other.
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1))?;
        life.put(&0u32.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())?;
        Ok(Pulse { alive, _life: socket })
    }

    /// They are well for so long from now, and no longer.
    pub fn well_for(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.alive.publish64(0, monotonic().saturating_add(time));
    }

    /// They are not: from now on everything goes to the endpoints.
    pub fn stop(&self) {
        self.alive.publish64(0, 0);
    }
}

#[cfg(test)]
mod tests;
