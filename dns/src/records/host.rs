//! The first label of an endpoint's name: its hostname, its Pod's name, or its address with dashes.

use std::fmt::Write as _;
use std::net::IpAddr;

use bowline_cluster::object::Endpoint;
use smallvec::SmallVec;

/// Labels in wire form, without a root label.
pub(super) type Labels = SmallVec<[u8; 64]>;

/// How an endpoint is called below its Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// Its hostname or its Pod's name; the latter may have dots, which make labels, as in CoreDNS.
    Named(&'a str),
    /// Its address: `10-0-0-1`, `fd00--1`.
    Dashed(IpAddr),
}

impl<'a> Host<'a> {
    /// By the rules of the option `endpoint_pod_names`.
    pub(super) fn of(endpoint: &Endpoint<'a>, pod_names: bool) -> Host<'a> {
        let pod = endpoint.pod.filter(|name| pod_names && name.len() < 64);
        match endpoint.hostname.or(pod) {
            Some(name) if name.split('.').all(|label| (1..64).contains(&label.len())) => Host::Named(name),
            _ => Host::Dashed(endpoint.address),
        }
    }

    /// Appends its labels in wire form.
    pub(super) fn push(self, to: &mut Labels) {
        match self {
            Host::Named(name) => {
                for label in name.split('.') {
                    to.push(label.len() as u8);
                    to.extend_from_slice(label.as_bytes());
                }
            }
            Host::Dashed(ip) => {
                let text = dashed(ip);
                to.push(text.len() as u8);
                to.extend_from_slice(&text);
            }
        }
    }

    /// Whether a label in lower case, `dashed` the address it may stand for, means this host.
    pub(super) fn is(self, label: &[u8], dashed: Option<IpAddr>) -> bool {
        match self {
            Host::Named(name) => !name.contains('.') && name.as_bytes().eq_ignore_ascii_case(label),
            Host::Dashed(ip) => dashed == Some(ip),
        }
    }
}

/// The label of an address. One that would end in a dash, which no host name may, gets a 0 (as CoreDNS does it).
fn dashed(ip: IpAddr) -> Labels {
    let mut text = replaced(ip);
    if text.last() == Some(&b'-') {
        text.push(b'0');
    }
    text
}

/// An address as it is usually written, with dashes.
fn replaced(ip: IpAddr) -> Labels {
    struct Dashes(Labels);
    impl std::fmt::Write for Dashes {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend(text.bytes().map(|byte| if matches!(byte, b'.' | b':') { b'-' } else { byte }));
            Ok(())
        }
    }
    let mut to = Dashes(Labels::new());
    // Writing to memory can't fail.
    let _ = write!(to, "{ip}");
    to.0
}

/// The address whose endpoint has this label, in lower case.
pub(super) fn endpoint_address(label: &[u8]) -> Option<IpAddr> {
    let ip = any_address(label)?;
    (*dashed(ip) == *label).then_some(ip)
}

/// The address in the name of a Pod, if that is written as addresses are.
pub(super) fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let ip = any_address(label)?;
    (*replaced(ip) == *label).then_some(ip)
}

/// The address in the name of a Pod, however it is written: three single dashes make IPv4, all else is IPv6.
pub(super) fn any_address(label: &[u8]) -> Option<IpAddr> {
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    let is_v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    for (to, from) in text.iter_mut().zip(label) {
        *to = match from {
            b'-' if is_v4 => b'.',
            b'-' => b':',
            // Neither may stand in the label itself.
            b'.' | b':' => return None,
            other => *other,
        };
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
