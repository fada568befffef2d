//! Addresses of interfaces.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use crate::{Net, NetError, Order};

impl Net {
    /// Gives an interface an address that is its own alone (/32, /128), usable at once; one that it has stays.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone.
    pub fn add_address(&self, index: u32, address: IpAddr) -> Result<(), NetError> {
        self.add_addresses(index, &[address])
    }

    /// Gives it several.
    ///
    /// # Errors
    /// As of [`Net::add_address`].
    pub fn add_addresses(&self, index: u32, addresses: &[IpAddr]) -> Result<(), NetError> {
        self.tell(addresses.iter().map(|address| order(index, *address)).collect())
    }

    /// The addresses of an interface that may be used beyond its link, with the lengths of their prefixes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&self, index: u32) -> Result<Vec<(IpAddr, u8)>, NetError> {
        let request = self.handle.address().get().set_link_index_filter(index).execute();
        let messages: Vec<AddressMessage> = self.runtime.block_on(request.try_collect()).map_err(NetError)?;
        let usable =
            messages.iter().filter(|one| one.header.index == index && one.header.scope == AddressScope::Universe);
        Ok(usable.filter_map(|one| read(one).map(|address| (address, one.header.prefix_len))).collect())
    }
}

impl Net {
    /// The addresses of all interfaces that may be used beyond their links.
    ///
    /// # Errors
    /// The kernel's.
    pub fn all_addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetError> {
        let request = self.handle.address().get().execute();
        let messages: Vec<AddressMessage> = self.runtime.block_on(request.try_collect()).map_err(NetError)?;
        let usable = messages.iter().filter(|one| one.header.scope == AddressScope::Universe);
        Ok(usable.filter_map(|one| read(one).map(|address| (one.header.index, address))).collect())
    }
}

fn order(index: u32, address: IpAddr) -> Order {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = match address {
        IpAddr::V4(_) => netlink_packet_route::AddressFamily::Inet,
        IpAddr::V6(_) => netlink_packet_route::AddressFamily::Inet6,
    };
    message.header.prefix_len = if address.is_ipv4() { 32 } else { 128 };
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    if address.is_ipv6() {
        // Without asking the neighbours whether somebody has it.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Order { message: RouteNetlinkMessage::NewAddress(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// Its own: where there is another end, IFA_ADDRESS is that one's.
fn read(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
