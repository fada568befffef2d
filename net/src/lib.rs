//! What the kernel knows of a network namespace's interfaces, addresses and filters, asked and changed by rtnetlink.
//!
//! The library speaks asynchronously; those who use this don't. Each [`Net`] has a socket and a runtime of its own, on the
//! thread that calls: nothing runs in between.

use std::fmt;
use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec};
use tokio::runtime::{Builder, Runtime};

mod filter;
#[cfg(test)]
mod tests;

pub use filter::{Direction, Filter};

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

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name (IFLA_IFNAME).
    pub name: String,
    /// What somebody has noted of it (IFLA_IFALIAS, 255 bytes at most); empty: nothing.
    pub alias: String,
}

/// What kind of interface is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It drops what it is given, and has addresses.
    Dummy,
    /// A bridge, without ports at first.
    Bridge,
}

/// A conversation with the kernel about the namespace in which it was opened.
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

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&self) -> Result<Vec<Link>, NetError> {
        let links = self.handle.link().get().execute();
        let messages: Vec<LinkMessage> = self.runtime.block_on(links.try_collect()).map_err(NetError)?;
        Ok(messages.iter().map(read).collect())
    }

    /// The interface of this name, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    /// Makes an interface.
    ///
    /// # Errors
    /// The kernel's: EEXIST, the name is taken; EOPNOTSUPP, it has none of this kind.
    pub fn add(&self, name: &str, kind: Kind) -> Result<(), NetError> {
        let message = match kind {
            Kind::Dummy => LinkDummy::new(name).build(),
            Kind::Bridge => LinkBridge::new(name).build(),
        };
        self.runtime.block_on(self.handle.link().add(message).execute()).map_err(NetError)
    }

    /// Takes an interface up and notes something of it; nothing, if that is empty.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn set_up(&self, index: u32, alias: &str) -> Result<(), NetError> {
        let message: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(index).up();
        let message = if alias.is_empty() { message } else { message.alias(alias) };
        self.runtime.block_on(self.handle.link().change(message.build()).execute()).map_err(NetError)
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn remove(&self, index: u32) -> Result<(), NetError> {
        self.runtime.block_on(self.handle.link().del(index).execute()).map_err(NetError)
    }

    /// Gives an interface an address that is its own alone (/32, /128), usable at once; one that it has stays.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone.
    pub fn add_address(&self, index: u32, address: IpAddr) -> Result<(), NetError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(index, address, bits).replace();
        if address.is_ipv6() {
            // Without asking the neighbours whether somebody has it.
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.runtime.block_on(request.execute()).map_err(NetError)
    }
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, name: String::new(), alias: String::new() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            _ => {}
        }
    }
    link
}
