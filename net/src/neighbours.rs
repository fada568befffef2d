//! Who is at the other end of a link: neighbours by their addresses, and for a tunnel its other ends.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use crate::{MISSING, Mac, Net, NetError, Order, if_there};

/// A neighbour that is known for good: nobody asks for it (NUD_PERMANENT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The interface.
    pub device: u32,
    /// Its address there.
    pub address: IpAddr,
    /// The Ethernet address that packets to it get.
    pub mac: Mac,
}

/// Which other end of a tunnel has an Ethernet address (an entry of the forwarding table, `bridge fdb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// The tunnels' interface.
    pub device: u32,
    /// The Ethernet address.
    pub mac: Mac,
    /// Where packets to it are sent.
    pub to: IpAddr,
}

/// An address for which this host answers on a link, although it is elsewhere (proxy ARP, RFC 1027, and its like of IPv6).
/// For IPv6 the link's setting `proxy_ndp` has to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxy {
    /// The interface.
    pub device: u32,
    /// The address that is asked for there.
    pub address: IpAddr,
}

impl Proxy {
    fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = if self.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.ifindex = self.device;
        message.header.flags = NeighbourFlags::Proxy;
        message.attributes.push(NeighbourAttribute::Destination(address_of(self.address)));
        message
    }
}

impl Neighbour {
    fn message(&self) -> NeighbourMessage {
        let family = if self.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message(family, self.device, self.address, self.mac, NeighbourFlags::empty())
    }
}

impl Forward {
    fn message(&self) -> NeighbourMessage {
        message(AddressFamily::Bridge, self.device, self.to, self.mac, NeighbourFlags::Own)
    }
}

impl Net {
    /// Makes neighbours known, or puts them in the place of those of the same addresses.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone.
    pub fn put_neighbours(&self, neighbours: &[Neighbour]) -> Result<(), NetError> {
        self.tell(neighbours.iter().map(|one| put(one.message())).collect())
    }

    /// Removes one; says whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_neighbour(&self, neighbour: &Neighbour) -> Result<bool, NetError> {
        self.remove_entry(neighbour.message())
    }

    /// The permanent neighbours of an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn neighbours(&self, device: u32) -> Result<Vec<Neighbour>, NetError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let entries = self.entries(family, device)?;
            found.extend(entries.into_iter().map(|(address, mac)| Neighbour { device, address, mac }));
        }
        Ok(found)
    }

    /// Says where an Ethernet address is, in the place of what was said of it before.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone.
    pub fn put_forwards(&self, forwards: &[Forward]) -> Result<(), NetError> {
        self.tell(forwards.iter().map(|one| put(one.message())).collect())
    }

    /// Removes one; says whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_forward(&self, forward: &Forward) -> Result<bool, NetError> {
        self.remove_entry(forward.message())
    }

    /// What is said of the tunnels of an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forwards(&self, device: u32) -> Result<Vec<Forward>, NetError> {
        let entries = self.entries(AddressFamily::Bridge, device)?;
        Ok(entries.into_iter().map(|(to, mac)| Forward { device, mac, to }).collect())
    }

    /// Has this host answer for an address.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone.
    pub fn put_proxy(&self, proxy: &Proxy) -> Result<(), NetError> {
        self.tell(vec![put(proxy.message())])
    }

    /// Takes that back; says whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_proxy(&self, proxy: &Proxy) -> Result<bool, NetError> {
        self.remove_entry(proxy.message())
    }

    /// For which addresses it answers on an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn proxies(&self, device: u32) -> Result<Vec<Proxy>, NetError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = self.handle.neighbours().get().set_address_family(family).proxies().execute();
            let messages: Vec<NeighbourMessage> = self.runtime.block_on(request.try_collect()).map_err(NetError)?;
            let of_device = messages
                .iter()
                .filter(|one| one.header.ifindex == device && one.header.flags.contains(NeighbourFlags::Proxy));
            found.extend(of_device.filter_map(read_address).map(|address| Proxy { device, address }));
        }
        Ok(found)
    }

    fn remove_entry(&self, message: NeighbourMessage) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::DelNeighbour(message);
        if_there(self.tell(vec![Order { message, flags: 0 }]), &MISSING)
    }

    fn entries(&self, family: AddressFamily, device: u32) -> Result<Vec<(IpAddr, Mac)>, NetError> {
        let request = self.handle.neighbours().get().set_address_family(family).execute();
        let messages: Vec<NeighbourMessage> = self.runtime.block_on(request.try_collect()).map_err(NetError)?;
        let of_device = messages.iter().filter(|one| {
            one.header.ifindex == device && one.header.state == NeighbourState::Permanent && one.header.family == family
        });
        Ok(of_device.filter_map(read).collect())
    }
}

fn put(message: NeighbourMessage) -> Order {
    Order { message: RouteNetlinkMessage::NewNeighbour(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

fn message(family: AddressFamily, device: u32, to: IpAddr, mac: Mac, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = flags;
    message.attributes.push(NeighbourAttribute::Destination(address_of(to)));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.into()));
    message
}

fn address_of(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }
}

fn read(message: &NeighbourMessage) -> Option<(IpAddr, Mac)> {
    let mut found = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => found.0 = Some((*address).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => found.0 = Some((*address).into()),
            // Of the family "bridge" the library doesn't know what an address is.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                found.0 = <[u8; 4]>::try_from(bytes.as_slice())
                    .map(IpAddr::from)
                    .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
                    .ok();
            }
            NeighbourAttribute::LinkLayerAddress(mac) => found.1 = mac.as_slice().try_into().ok(),
            _ => {}
        }
    }
    found.0.zip(found.1)
}

fn read_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some((*address).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}
