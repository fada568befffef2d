//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::NLM_F_REQUEST;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};

use crate::{MISSING, Net, NetError, Order, if_there};

/// Whose routes are ours (RTPROT_*, /etc/iproute2/rt_protos): none that the kernel or a known daemon uses. All of those of this
/// number that nobody wants are removed.
pub const BOWLINE: u8 = 98;

/// The number of a route's MTU among its metrics (linux/rtnetlink.h).
const RTAX_MTU: u32 = 2;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// The next hop; None: what is there is on the link. Of the same family.
    pub via: Option<IpAddr>,
    /// The interface.
    pub device: u32,
    /// The address that the node's own packets are from, where they have none.
    pub source: Option<IpAddr>,
    /// The next hop is on the link although no address of it says so.
    pub on_link: bool,
    /// Who made it ([`BOWLINE`]).
    pub protocol: u8,
    /// The longest packet on this way, also of those that only pass here; None: as the interface has it.
    pub mtu: Option<u32>,
}

impl Route {
    /// One of ours to a link.
    pub fn on(device: u32, to: IpNet) -> Route {
        Route { to, via: None, device, source: None, on_link: false, protocol: BOWLINE, mtu: None }
    }

    /// The same with a next hop that need not be on a network of the link.
    pub fn via(self, hop: IpAddr) -> Route {
        Route { via: Some(hop), on_link: true, ..self }
    }

    fn message(&self) -> RouteMessage {
        let builder = RouteMessageBuilder::<IpAddr>::new();
        // Both ends are of one family, or the kernel says so.
        let with = |builder: RouteMessageBuilder<IpAddr>| {
            let builder = match builder.clone().destination_prefix(self.to.network(), self.to.prefix_len()) {
                Ok(built) => built,
                Err(_) => builder,
            };
            let builder = match self.via.map(|hop| builder.clone().gateway(hop)) {
                Some(Ok(built)) => built,
                _ => builder,
            };
            match self.source.map(|source| builder.clone().pref_source(source)) {
                Some(Ok(built)) => built,
                _ => builder,
            }
        };
        let mut builder = with(builder).output_interface(self.device).protocol(RouteProtocol::from(self.protocol));
        if self.via.is_none() && self.to.addr().is_ipv4() {
            builder = builder.scope(RouteScope::Link);
        }
        if self.on_link {
            builder = builder.onlink();
        }
        let mut message = builder.build();
        if let Some(mtu) = self.mtu {
            // Locked: else it isn't what packets are held to that only pass, and that programs are told.
            let metrics = vec![RouteMetric::Mtu(mtu), RouteMetric::Lock(1 << RTAX_MTU)];
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }
}

/// The way that a packet would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface.
    pub device: u32,
    /// The next hop; None: it is on the link.
    pub via: Option<IpAddr>,
    /// The address that it would be from.
    pub source: Option<IpAddr>,
    /// Whether it would stay on this machine.
    pub is_local: bool,
    /// The longest packet on this way, where that is known beside the interface's.
    pub mtu: Option<u32>,
}

impl Net {
    /// Makes routes, or puts them in the place of those to the same networks.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the interface is gone; ENETUNREACH, the next hop is not reached.
    pub fn put_routes(&self, routes: &[Route]) -> Result<(), NetError> {
        let order = |route: &Route| Order {
            message: RouteNetlinkMessage::NewRoute(route.message()),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
        };
        self.tell(routes.iter().map(order).collect())
    }

    /// Removes a route; says whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_route(&self, route: &Route) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::DelRoute(route.message());
        if_there(self.tell(vec![Order { message, flags: 0 }]), &MISSING)
    }

    /// The routes of the main table, of both families, that lead to one next hop.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes(&self) -> Result<Vec<Route>, NetError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            let request = self.handle.route().get(all).execute();
            let read = request.try_filter_map(async |one| Ok(Some(one).filter(is_of_main).as_ref().and_then(read)));
            routes.extend(self.runtime.block_on(read.try_collect::<Vec<Route>>()).map_err(NetError)?);
        }
        Ok(routes)
    }

    /// The way to an address; None where there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn way_to(&self, to: IpAddr) -> Result<Option<Way>, NetError> {
        let mut message = RouteMessage::default();
        message.header.address_family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(to.into()));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(message));
        request.header.flags = NLM_F_REQUEST;
        let mut handle = self.handle.clone();
        let answer = self.runtime.block_on(async {
            let mut answers = handle.request(request).map_err(NetError)?;
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => return Ok(Some(route)),
                    NetlinkPayload::Error(error) => return Err(NetError(rtnetlink::Error::NetlinkError(error))),
                    _ => {}
                }
            }
            Ok(None)
        });
        let route = match answer {
            // ENETUNREACH, EHOSTUNREACH; EACCES, EINVAL and EAGAIN of routes that prohibit, swallow and throw; EOPNOTSUPP and
            // EAFNOSUPPORT where the family is off.
            Err(error) if matches!(error.errno(), Some(101 | 113 | 13 | 22 | 11 | 95 | 97)) => return Ok(None),
            answer => answer?,
        };
        Ok(route.filter(|route| matches!(route.header.kind, RouteType::Unicast | RouteType::Local)).map(|route| {
            let parts = Parts::of(&route);
            Way {
                device: parts.device,
                via: parts.via,
                source: parts.source,
                is_local: route.header.kind == RouteType::Local,
                mtu: parts.mtu,
            }
        }))
    }
}

/// What stands in the attributes of a route.
#[derive(Default)]
struct Parts {
    to: Option<IpAddr>,
    via: Option<IpAddr>,
    device: u32,
    source: Option<IpAddr>,
    mtu: Option<u32>,
}

impl Parts {
    fn of(message: &RouteMessage) -> Parts {
        let mut parts = Parts::default();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => parts.to = address_of(address),
                RouteAttribute::Gateway(address) => parts.via = address_of(address),
                RouteAttribute::PrefSource(address) => parts.source = address_of(address),
                RouteAttribute::Oif(device) => parts.device = *device,
                RouteAttribute::Metrics(metrics) => {
                    parts.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        parts
    }
}

fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn is_of_main(message: &RouteMessage) -> bool {
    message.header.table == RouteHeader::RT_TABLE_MAIN && message.header.kind == RouteType::Unicast
}

/// None of one with several next hops.
fn read(message: &RouteMessage) -> Option<Route> {
    let Parts { to, via, device, source, mtu } = Parts::of(message);
    let nothing: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let to = IpNet::new(to.unwrap_or(nothing), message.header.destination_prefix_length).ok()?;
    let on_link = message.header.flags.contains(netlink_packet_route::route::RouteFlags::Onlink);
    (device != 0).then(|| Route { to, via, device, source, on_link, protocol: message.header.protocol.into(), mtu })
}
