//! Addresses to serve at, as kube-proxy's flags take them, and more: an IP address or a host's name, with a port or
//! without; a port alone is every address; nothing is off.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Where to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Nowhere.
    Off,
    /// At the first of these that can be.
    At(Vec<SocketAddr>),
    /// At what this name means at the start, and this port.
    Named(String, u16),
}

/// Why a text is no address, and how one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

/// Reads `--metrics-bind-address`.
pub fn metrics(text: &str) -> Result<Bind, AddressError> {
    Bind::parse(text, 10249)
}

/// Reads `--healthz-bind-address`.
pub fn healthz(text: &str) -> Result<Bind, AddressError> {
    Bind::parse(text, 10256)
}

/// Reads an address without a port, IPv6 with brackets or without.
pub fn ip(text: &str) -> Result<IpAddr, AddressError> {
    parse_ip(text).ok_or_else(|| AddressError("write an IP address".to_owned()))
}

impl Bind {
    /// Reads an address; `port` is for one that has none.
    fn parse(text: &str, port: u16) -> Result<Bind, AddressError> {
        if text.is_empty() {
            return Ok(Bind::Off);
        }
        if let Some(ip) = parse_ip(text) {
            return Bind::at(ip, port);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, number)) => {
                let wrong = || AddressError(format!("{number:?} is no port; write a number up to 65535"));
                let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                (host, number.parse().ok().filter(|_| is_number).ok_or_else(wrong)?)
            }
            None => (text, port),
        };
        let is_v6 = host.starts_with('[') || host.contains(':');
        match parse_ip(host) {
            _ if host.is_empty() => Ok(Bind::At(vec![
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
            ])),
            // Without brackets it would be part of the address.
            Some(ip) if ip.is_ipv4() || host.starts_with('[') => Bind::at(ip, port),
            None if !is_v6 && is_name(host) => Ok(Bind::Named(host.to_owned(), port)),
            _ => Err(AddressError(format!("{host:?} is no IP address; write IP, IP:PORT or, for IPv6, [IP]:PORT"))),
        }
    }

    fn at(ip: IpAddr, port: u16) -> Result<Bind, AddressError> {
        if ip.is_multicast() || ip == IpAddr::from(Ipv4Addr::BROADCAST) {
            return Err(AddressError(format!("nothing can serve at {ip}; write an address of this host")));
        }
        Ok(Bind::At(vec![SocketAddr::new(ip, port)]))
    }

    /// The addresses; none: off. Asks for the name, where it is one.
    ///
    /// # Errors
    /// Nobody knows the name.
    #[allow(clippy::disallowed_methods, reason = "a name in a flag is asked for once, before anything is served")]
    pub fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        match self {
            Bind::Off => Ok(Vec::new()),
            Bind::At(addresses) => Ok(addresses.clone()),
            Bind::Named(name, port) => match (name.as_str(), *port).to_socket_addrs() {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => anyhow::bail!("{name:?} is no name that this host knows ({error}); write an IP address"),
            },
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Off => f.write_str("\"\""),
            Bind::At(addresses) if addresses.len() > 1 => write!(f, ":{}", addresses[0].port()),
            Bind::At(addresses) => addresses.iter().try_for_each(|address| write!(f, "{address}")),
            Bind::Named(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Whether two sockets can't both listen there.
pub fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let takes = |one: IpAddr, other: IpAddr| match one {
        IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || takes(a, b) || takes(b, a))
}

/// An address as Go's sloppy parser takes it (leading zeros), and with brackets.
fn parse_ip(text: &str) -> Option<IpAddr> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let sloppy = || {
        let mut octets = [0; 4];
        let mut parts = text.split('.');
        for octet in &mut octets {
            let part = parts.next().filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))?;
            *octet = part.parse().ok()?;
        }
        parts.next().is_none().then(|| IpAddr::from(octets))
    };
    text.parse().ok().or_else(sloppy)
}

/// Whether it could be a host's name.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_word = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_word && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    // What ends in a number was meant as an address.
    let is_numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !is_numeric && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
