//! The records of the packets' maps: one definition for the kernel and for the agent.
//!
//! ```text
//! veths            HASH    index of a pod's device in the node ─> Veth   who sends there
//! local            HASH    address ─> Local                             which pod has it, or the node itself
//! links            HASH    index of a link of the node ─> Link          what pods' packets are sent as there
//! inside           LPM     prefix ─> 1                                  where pods are seen with their own addresses
//! host_ports       HASH    HostPortKey ─> Target                        which pod has a port of the node
//! flows            HASH    Tuple ─> Flow                                what becomes of packets that are translated
//! fragments        LRU     Datagram ─> Ports                            which ports a datagram in pieces has
//! packet_verdicts  PERCPU  verdict ─> u64                               counts
//! ```
//!
//! A flow is two entries, one for each direction, each under the tuple that packets arrive with, and saying the one that they
//! leave with. `(key, to)` of one are `(to reversed, key reversed)` of the other. All that is needed stands in them: what made a
//! flow may change or go, and the flow goes on. The table is never flushed and evicts nothing: where it is full, a new flow is
//! refused. Services and policy will use the same.
//!
//! Addresses are 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`; ports are in network order; everything else is in the
//! machine's. Every byte of padding is named and zero, since hash maps compare keys by their bytes.

use crate::record::Value;

/// The version of this layout: part of the path under which its maps are pinned. A change of any record here takes the next
/// number.
pub const VERSION: u32 = 2;

/// An address: 16 bytes in network order as they lie in memory, IPv4 mapped.
pub type Address = [u32; 4];

/// The third word of an IPv4 address that is mapped into IPv6.
pub use crate::layout::MAPPED;

/// An Ethernet address as it lies in memory.
pub type Mac = [u16; 3];

/// Whether an address is an IPv4 address, mapped.
#[inline(always)]
pub const fn is_v4(address: &Address) -> bool {
    address[0] == 0 && address[1] == 0 && address[2] == MAPPED
}

/// An IPv4 address, mapped.
#[inline(always)]
pub const fn mapped(v4: u32) -> Address {
    [0, 0, MAPPED, v4]
}

/// What stands for every address of a family: 0.0.0.0 or `::`.
#[inline(always)]
pub const fn any(like: &Address) -> Address {
    if is_v4(like) { mapped(0) } else { [0; 4] }
}

/// Whether two addresses are the same; by words, which the kernel's programs compare at once.
#[inline(always)]
pub const fn same(a: &Address, b: &Address) -> bool {
    a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0]
}

macro_rules! plain {
    ($($(#[$about:meta])* $record:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            #[repr(C)]
            pub struct $record {
                $($(#[$field_about])* pub $field: $type,)*
            }

            impl $record {
                /// Bytes of one.
                pub const SIZE: usize = size_of::<$record>();

                /// As it lies in memory.
                pub fn to_bytes(&self) -> [u8; $record::SIZE] {
                    let mut bytes = [0; $record::SIZE];
                    $({
                        let at = core::mem::offset_of!($record, $field);
                        if let Some(to) = bytes.get_mut(at..at + size_of::<$type>()) {
                            self.$field.to_memory(to);
                        }
                    })*
                    bytes
                }

                /// Of its bytes; what is missing is zero.
                pub fn from_bytes(bytes: &[u8]) -> $record {
                    $record {
                        $($field: {
                            let at = core::mem::offset_of!($record, $field);
                            bytes.get(at..at + size_of::<$type>()).map_or(<$type>::ZERO, <$type>::from_memory)
                        },)*
                    }
                }
            }

            // No padding but what has a name.
            const _: () = assert!(size_of::<$record>() == 0 $(+ size_of::<$type>())*);
        )*

        /// The shape of all records: what the version stands for.
        #[cfg(test)]
        fn shape() -> String {
            let mut lines = Vec::new();
            $(
                lines.push(format!("{}: {} bytes", stringify!($record), size_of::<$record>()));
                $(
                    let at = core::mem::offset_of!($record, $field);
                    lines.push(format!("  {}: {} at {at}", stringify!($field), stringify!($type)));
                )*
            )*
            lines.join("\n")
        }
    };
}

plain! {
    /// Value of `veths`: the pod behind a device of the node.
    Veth {
        /// Its IPv6 address; zero: it has none.
        v6: Address,
        /// Its IPv4 address; zero: it has none.
        v4: u32,
        /// Its Ethernet address.
        mac: Mac,
        /// Zero.
        pad: u16,
        /// [`HOST_PORTS`].
        flags: u32,
    }

    /// Value of `local`: where an address of this node is.
    Local {
        /// The index of the node's end of the pod's wire; 0: it is the node's own address.
        index: u32,
        /// The largest packet that the pod's wire takes, from the IP header on.
        mtu: u16,
        /// [`HAS_QUEUE`].
        flags: u16,
        /// The pod's Ethernet address.
        mac: Mac,
        /// That of the node's end.
        host_mac: Mac,
    }

    /// Value of `links`: a link over which pods reach the world.
    Link {
        /// The node's IPv6 address, which pods' packets that leave the cluster get; zero: they keep their own.
        v6: Address,
        /// The same for IPv4.
        v4: u32,
    }

    /// Key of `host_ports`.
    HostPortKey {
        /// The node's address, or [`any`].
        address: Address,
        /// The port there.
        port: u16,
        /// `IPPROTO_*`.
        protocol: u8,
        /// Zero.
        pad: u8,
    }

    /// Value of `host_ports`: where in a pod that leads.
    Target {
        /// The pod's address.
        address: Address,
        /// The port there.
        port: u16,
        /// Zero.
        pad: u16,
    }

    /// Key of `flows`: who speaks with whom.
    Tuple {
        /// From where.
        source: Address,
        /// To where.
        destination: Address,
        /// The port there, or the identifier of an ICMP echo that asks.
        source_port: u16,
        /// The port, or the identifier of an ICMP echo that answers.
        destination_port: u16,
        /// `IPPROTO_*`.
        protocol: u8,
        /// Zero.
        pad: [u8; 3],
    }

    /// Value of `flows`: one direction of a flow.
    Flow {
        /// What packets leave with.
        to: Tuple,
        /// When the last came, or the flow was made; nanoseconds of the monotonic clock, true to two seconds.
        seen: u64,
        /// Flags of TCP that came in this direction since its last SYN, [`ANSWERED`](super::flow::ANSWERED) and
        /// [`LASTS`](super::flow::LASTS).
        flags: u32,
        /// What made it: a [`Made`](super::flow::Made), and [`REPLY`](super::flow::REPLY).
        made: u32,
    }

    /// Key of `fragments`.
    Datagram {
        /// From where.
        source: Address,
        /// To where.
        destination: Address,
        /// Its identification, as it lies in the packet.
        id: u32,
        /// `IPPROTO_*`.
        protocol: u8,
        /// Zero.
        pad: [u8; 3],
    }

    /// Value of `fragments`.
    Ports {
        /// As [`Tuple::source_port`].
        source: u16,
        /// As [`Tuple::destination_port`].
        destination: u16,
    }
}

impl Value for Tuple {
    const ZERO: Tuple =
        Tuple { source: [0; 4], destination: [0; 4], source_port: 0, destination_port: 0, protocol: 0, pad: [0; 3] };
    fn from_memory(bytes: &[u8]) -> Tuple {
        Tuple::from_bytes(bytes)
    }
    fn to_memory(&self, to: &mut [u8]) {
        if let Some(to) = to.as_mut_array() {
            *to = self.to_bytes();
        }
    }
}

impl Tuple {
    /// Of the other direction.
    #[inline(always)]
    pub const fn reversed(&self) -> Tuple {
        Tuple {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
            pad: [0; 3],
        }
    }
}

/// Flag of a [`Veth`]: something is translated to this pod, so what it sends may be an answer that is translated back.
pub const HOST_PORTS: u32 = 1;

/// Flag of a [`Local`]: at the node's end of the pod's wire is a queue (a limit of its bandwidth), which all that is for the pod
/// has to pass.
pub const HAS_QUEUE: u16 = 1;

#[cfg(test)]
mod tests;
