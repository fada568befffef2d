//! Interfaces.

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::{LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use crate::{ENODEV, Net, NetError, Order};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name (IFLA_IFNAME).
    pub name: String,
    /// What somebody has noted of it (IFLA_IFALIAS, 255 bytes at most); empty: nothing.
    pub alias: String,
    /// Its Ethernet address; None where it has another kind of address, or none.
    pub mac: Option<Mac>,
    /// The longest packet that it sends, in bytes.
    pub mtu: u32,
    /// Whether somebody has taken it up.
    pub is_up: bool,
    /// Whether it carries packets: it is up, and so is what is below it or at its other end.
    pub is_running: bool,
    /// Its kind ("veth", "vxlan"); empty for a physical one.
    pub kind: String,
    /// The bridge or the like that it is a port of; 0: none.
    pub master: u32,
    /// Of a VXLAN its identifier and its UDP port (host byte order).
    pub vxlan: Option<(u32, u16)>,
}

/// What kind of interface is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It drops what it is given, and has addresses.
    Dummy,
    /// A bridge, without ports at first.
    Bridge,
}

/// A pair of interfaces, of which one is in another network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// The name of the end that stays here.
    pub name: &'a str,
    /// Its address.
    pub mac: Mac,
    /// What is noted of it.
    pub alias: &'a str,
    /// The name of the other end.
    pub peer: &'a str,
    /// The address of the other end.
    pub peer_mac: Mac,
    /// Where the other end is.
    pub netns: BorrowedFd<'a>,
    /// Of both.
    pub mtu: u32,
}

/// An end of VXLAN tunnels (RFC 7348) that learns nothing: it is told where each peer is ([`crate::Forward`]).
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its address inside the tunnels.
    pub mac: Mac,
    /// What is noted of it.
    pub alias: &'a str,
    /// The network's identifier, 24 bits.
    pub id: u32,
    /// The UDP port, in host byte order.
    pub port: u16,
    /// The interface over which the tunnels go.
    pub device: u32,
    /// The address from which they come.
    pub local: IpAddr,
    /// Of packets inside the tunnels.
    pub mtu: u32,
}

impl Net {
    /// All interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&self) -> Result<Vec<Link>, NetError> {
        // Without counters: they are most of what the kernel tells of a link.
        let request = self.handle.link().get().set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        let links = request.execute().map_ok(|message| read(&message));
        self.runtime.block_on(links.try_collect()).map_err(NetError)
    }

    /// The interface of this name, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        let links = self.handle.link().get().match_name(name.to_owned()).execute();
        match self.runtime.block_on(links.try_collect::<Vec<LinkMessage>>()).map_err(NetError) {
            Ok(messages) => Ok(messages.first().map(read)),
            Err(error) if error.errno() == Some(ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an interface.
    ///
    /// # Errors
    /// The kernel's: EEXIST, the name is taken; EOPNOTSUPP, it has none of this kind.
    pub fn add(&self, name: &str, kind: Kind) -> Result<(), NetError> {
        self.make(match kind {
            Kind::Dummy => LinkDummy::new(name).build(),
            Kind::Bridge => LinkBridge::new(name).build(),
        })
    }

    /// Makes a pair. The end that stays here is up, the other is not.
    ///
    /// # Errors
    /// The kernel's: EEXIST, one of the names is taken.
    pub fn add_veth(&self, veth: &Veth<'_>) -> Result<(), NetError> {
        let peer: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_name(veth.peer);
        let peer = peer.address(veth.peer_mac.into()).mtu(veth.mtu).setns_by_fd(veth.netns.as_raw_fd()).build();
        let link: LinkMessageBuilder<LinkVeth> = LinkVeth::new(veth.name, veth.peer);
        let link = link.set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        let link = link.address(veth.mac.into()).mtu(veth.mtu).build();
        self.make_noted(veth.name, veth.alias, link, true)
    }

    /// Makes an end of tunnels. It is not up: a port that is in use is told then.
    ///
    /// # Errors
    /// The kernel's: EEXIST, the name is taken, or one of this identifier is there.
    pub fn add_vxlan(&self, vxlan: &Vxlan<'_>) -> Result<(), NetError> {
        let link: LinkMessageBuilder<LinkVxlan> = LinkVxlan::new(vxlan.name, vxlan.id);
        let link = match vxlan.local {
            IpAddr::V4(local) => link.local(local),
            IpAddr::V6(local) => link.local6(local),
        };
        let link = link.port(vxlan.port).dev(vxlan.device).learning(false);
        let link = link.address(vxlan.mac.into()).mtu(vxlan.mtu).build();
        self.make_noted(vxlan.name, vxlan.alias, link, false)
    }

    /// The kernel takes no note of an interface that it makes, only of one that is there.
    fn make_noted(&self, name: &str, alias: &str, link: LinkMessage, is_up: bool) -> Result<(), NetError> {
        let noted: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_name(name).alias(alias);
        let noted = if is_up { noted.up() } else { noted };
        self.make(link)?;
        self.tell(vec![Order { message: RouteNetlinkMessage::NewLink(noted.build()), flags: 0 }])
    }

    fn make(&self, message: LinkMessage) -> Result<(), NetError> {
        let message = RouteNetlinkMessage::NewLink(message);
        self.tell(vec![Order { message, flags: NLM_F_CREATE | NLM_F_EXCL }])
    }

    /// Takes an interface up and notes something of it; nothing, if that is empty.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone; EADDRINUSE, the port of a VXLAN is in use.
    pub fn set_up(&self, index: u32, alias: &str) -> Result<(), NetError> {
        let message: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(index).up();
        let message = if alias.is_empty() { message } else { message.alias(alias) };
        self.change(message)
    }

    /// Sets the longest packet that an interface sends.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone; EINVAL, it can't be as long.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), NetError> {
        self.change(LinkUnspec::new_with_index(index).mtu(mtu))
    }

    /// Sets the address of an interface.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn set_mac(&self, index: u32, mac: Mac) -> Result<(), NetError> {
        self.change(LinkUnspec::new_with_index(index).address(mac.into()))
    }

    fn change(&self, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), NetError> {
        self.runtime.block_on(self.handle.link().change(message.build()).execute()).map_err(NetError)
    }

    /// Puts an interface into a group, a number that several may have; that costs little.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn set_group(&self, index: u32, group: u32) -> Result<(), NetError> {
        self.change(LinkUnspec::new_with_index(index).link_group(group))
    }

    /// Removes all interfaces of a group, which takes little longer than to remove one.
    ///
    /// # Errors
    /// The kernel's: ENODEV, none is in it.
    pub fn remove_group(&self, group: u32) -> Result<(), NetError> {
        let link: LinkMessageBuilder<LinkUnspec> = LinkMessageBuilder::<LinkUnspec>::new();
        let message = RouteNetlinkMessage::DelLink(link.link_group(group).build());
        self.tell(vec![Order { message, flags: 0 }])
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// The kernel's: ENODEV, it is gone.
    pub fn remove(&self, index: u32) -> Result<(), NetError> {
        self.runtime.block_on(self.handle.link().del(index).execute()).map_err(NetError)
    }
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: String::new(),
        mac: None,
        mtu: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
        is_running: false,
        kind: String::new(),
        master: 0,
        vxlan: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(master) => link.master = *master,
            LinkAttribute::OperState(state) => {
                link.is_running = link.is_up && matches!(state, State::Up | State::Unknown);
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = name_of(kind),
                        LinkInfo::Data(InfoData::Vxlan(infos)) => link.vxlan = vxlan_of(infos),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn vxlan_of(infos: &[InfoVxlan]) -> Option<(u32, u16)> {
    let id = infos.iter().find_map(|info| if let InfoVxlan::Id(id) = info { Some(*id) } else { None })?;
    let port = infos.iter().find_map(|info| if let InfoVxlan::Port(port) = info { Some(*port) } else { None })?;
    Some((id, port))
}

fn name_of(kind: &InfoKind) -> String {
    String::from_utf8(kind.to_string().into_bytes()).unwrap_or_default()
}
