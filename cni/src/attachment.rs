//! What a container has of the network, as it is remembered from ADD to DEL.

use std::fmt;
use std::net::IpAddr;

use bowline_cni_protocol::{Bandwidth, Mac as Mac6, PortMapping};
use bowline_net::{Link, Mac};
use serde::{Deserialize, Serialize};

/// Which interface of which container: what CNI knows an attachment by. A container may have several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// CNI_CONTAINERID.
    pub container: String,
    /// CNI_IFNAME.
    pub ifname: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.ifname)
    }
}

/// How the names of the node's ends of wires begin; people know them by it, and so does the clean-up.
pub const PREFIX: &str = "bow";

/// Whether a link is the node's end of a pod's wire.
pub(crate) fn is_wire(link: &Link) -> bool {
    link.kind == "veth" && link.name.starts_with(PREFIX)
}

/// A number that follows from bytes, the same for all time.
pub(crate) fn number(bytes: impl Iterator<Item = u8>) -> u64 {
    // FNV-1a, 64 bits, then mixed so that all bits depend on all.
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

impl Key {
    /// A number of its own, the same for all time: links are named by it.
    fn number(&self) -> u64 {
        number(self.container.bytes().chain([0]).chain(self.ifname.bytes()))
    }

    /// The name of the node's end of its wire: 15 bytes, the most that the kernel takes. It is the same whenever it is
    /// made, so that what an agent that was killed has left is found.
    pub fn link(&self) -> String {
        format!("{PREFIX}{:012x}", self.number() >> 16)
    }

    /// The Ethernet addresses of the node's end and of the container's: of our own choice, so that nobody who gives
    /// addresses to new interfaces (udev) has a say in them.
    pub fn macs(&self) -> (Mac, Mac) {
        let number = self.number().to_be_bytes();
        // Locally administered, unicast; the two differ in one bit.
        let with = |first: u8| [first, number[3], number[4], number[5], number[6], number[7]];
        (with(0xb2), with(0xb6))
    }
}

/// The Pod that a container is of, as the runtime says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// K8S_POD_NAMESPACE.
    pub namespace: String,
    /// K8S_POD_NAME.
    pub name: String,
    /// K8S_POD_UID; empty where the runtime doesn't say it.
    #[serde(default)]
    pub uid: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Whose.
    #[serde(flatten)]
    pub key: Key,
    /// The name of the network in the runtime's configuration.
    pub network: String,
    /// CNI_NETNS, as the runtime said it.
    pub netns: String,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address of the container's end.
    pub mac: Mac,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// Whether its configuration says the MTU: then it doesn't follow the node's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_mtu: bool,
    /// The Pod; None where the runtime names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// Ports of the node that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// How fast it may receive and send; None: as fast as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Whether its addresses are another plugin's to give back (delegated IPAM).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delegated: bool,
}

impl Attachment {
    /// What is noted of its link, from which an attachment is known again whose record is lost.
    pub(crate) fn note(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mac = Mac6(self.mac);
        format!("bowline {} {} {} {mac}", self.key.container, self.key.ifname, addresses.join(","))
    }

    /// What such a note says; None where it is another's.
    pub(crate) fn of_note(note: &str) -> Option<Attachment> {
        let mut words = note.split(' ');
        if words.next() != Some("bowline") {
            return None;
        }
        let key = Key { container: words.next()?.to_owned(), ifname: words.next()?.to_owned() };
        let addresses = words.next()?.split(',').filter_map(|one| one.parse().ok()).collect();
        let told = words.next().and_then(|mac| mac.parse::<Mac6>().ok());
        let mac = told.map_or(key.macs().1, |Mac6(mac)| mac);
        let (network, netns) = (String::new(), String::new());
        Some(Attachment {
            key,
            network,
            netns,
            addresses,
            mac,
            mtu: 0,
            own_mtu: false,
            pod: None,
            ports: Vec::new(),
            bandwidth: None,
            delegated: false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn links_are_named_by_their_key_alone() {
        let key = |container: &str, ifname: &str| Key { container: container.into(), ifname: ifname.into() };
        let one = key("4f0c", "eth0");
        assert_eq!(one.link(), one.clone().link());
        assert_eq!(one.link().len(), 15);
        assert!(one.link().starts_with(PREFIX));
        let others = [key("4f0c", "eth1"), key("4f0", "ceth0"), key("4f0d", "eth0")];
        assert!(others.iter().all(|other| other.link() != one.link() && other.macs() != one.macs()));
        let (host, pod) = one.macs();
        assert_ne!(host, pod);
        assert!([host, pod].iter().all(|mac| mac[0] & 3 == 2), "locally administered, unicast");
        // Links that stand there were named by an agent before this one.
        assert_eq!(one.link(), "bow7216aff4e857");
    }

    #[test]
    fn a_note_of_a_link_says_whose_it_is() {
        let key = Key { container: "a".repeat(64), ifname: "ethernet0123456".into() };
        let attachment = Attachment {
            mac: [2, 0, 0, 1, 2, 3],
            key,
            network: "pods".into(),
            netns: "/run/netns/a".into(),
            addresses: vec!["10.244.1.7".parse().unwrap(), "fd00:1234:5678:9abc:def0:1234:5678:9abc".parse().unwrap()],
            mtu: 1450,
            own_mtu: false,
            pod: Some(PodName { namespace: "default".into(), name: "web-0".into(), uid: String::new() }),
            ports: Vec::new(),
            bandwidth: None,
            delegated: false,
        };
        let note = attachment.note();
        assert!(note.len() < 256, "{} bytes", note.len());
        let found = Attachment::of_note(&note).unwrap();
        assert_eq!((found.key, found.addresses, found.mac), (attachment.key, attachment.addresses, [2, 0, 0, 1, 2, 3]));
        assert_eq!(Attachment::of_note("somebody's"), None);
        assert_eq!(Attachment::of_note("bowline alone"), None);
    }
}
