//! Addresses and ports as the maps have them. This form never changes: descriptions tell where an endpoint stands, and
//! not what is in it.

use crate::record::Value;

/// An address and a port. The address is four words, so that the kernel programs copy and compare words
/// and not bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Endpoint {
    /// 16 bytes in network order, as they lie in memory; IPv4 mapped.
    pub address: [u32; 4],
    /// Network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

impl Endpoint {
    /// An endpoint of an address as it lies in memory and a port in network order.
    #[inline(always)]
    pub const fn new(address: [u32; 4], port: u16) -> Endpoint {
        Endpoint { address, port, pad: 0 }
    }

    /// An endpoint of address bytes and a port, both in network order.
    pub const fn from_bytes(a: [u8; 16], port: u16) -> Endpoint {
        let address = [
            u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
            u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
            u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
            u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
        ];
        Endpoint::new(address, port)
    }

    /// The address's bytes, in network order.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.address) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Whether it is an IPv4 address, mapped.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        let [a, b, c, _] = self.address;
        a == 0 && b == 0 && c == MAPPED
    }

    /// Whether it is of the loopback network, 127.0.0.0/8 or ::1.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        let [a, b, c, d] = self.address;
        a == 0 && b == 0 && (c == MAPPED && d & FIRST_BYTE == LOOPBACK || c == 0 && d == 1_u32.to_be())
    }
}

/// The first byte of an address, and of 127.0.0.0/8.
const FIRST_BYTE: u32 = 0xff00_0000_u32.to_be();
const LOOPBACK: u32 = 0x7f00_0000_u32.to_be();

/// The third word of an IPv4 address that is mapped into IPv6.
pub const MAPPED: u32 = 0xffff_u32.to_be();

impl Value for Endpoint {
    const ZERO: Endpoint = Endpoint::new([0; 4], 0);
    fn from_memory(bytes: &[u8]) -> Endpoint {
        let (address, port) = bytes.split_at_checked(16).unwrap_or_default();
        Endpoint::new(Value::from_memory(address), Value::from_memory(port.get(..2).unwrap_or_default()))
    }
    fn to_memory(&self, to: &mut [u8]) {
        if let Some((address, port)) = to.split_at_mut_checked(16) {
            self.address.to_memory(address);
            [self.port, self.pad].to_memory(port);
        }
    }
}

// In the order of addresses and ports as people know it; for the agent alone.
impl Ord for Endpoint {
    fn cmp(&self, other: &Endpoint) -> core::cmp::Ordering {
        (self.bytes(), u16::from_be(self.port)).cmp(&(other.bytes(), u16::from_be(other.port)))
    }
}
impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Endpoint) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where the connected UDP sockets of a Service without endpoints are sent: port 1 of the loopback
/// address (tcpmux, which has no UDP server), so that the kernel itself answers "port unreachable" and
/// the socket's next call fails with ECONNREFUSED. Port 0 would do the same, but getpeername() takes it for
/// "not connected".
#[inline(always)]
pub const fn nowhere(like: &Endpoint) -> Endpoint {
    let port = 1_u16.to_be();
    if like.is_v4() {
        Endpoint::new([0, 0, MAPPED, 0x7f00_0001_u32.to_be()], port)
    } else {
        Endpoint::new([0, 0, 0, 1_u32.to_be()], port)
    }
}
