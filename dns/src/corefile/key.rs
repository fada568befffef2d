//! What a server block answers for: `.`, `cluster.local:53`, `tls://example.org`, `10.0.0.0/24`.

use super::SetupError;
use super::{CorefileError, SourceLine, reverse};
use crate::wire::Name;

/// How questions come to a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Scheme {
    /// UDP and TCP; what a key without a scheme has.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Scheme {
    /// As it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Dns => "dns",
            Scheme::Tls => "tls",
            Scheme::Https => "https",
            Scheme::Quic => "quic",
        }
    }

    /// The port of a key that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Dns => 53,
            Scheme::Tls | Scheme::Quic => 853,
            Scheme::Https => 443,
        }
    }
}

/// A key of a server block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// As it is written, its environment variables put in.
    pub text: String,
    /// Where it stands.
    pub place: SourceLine,
    /// How questions come.
    pub scheme: Scheme,
    /// What it answers for, lower-cased; several where an address block is no multiple of 8 (v4) or 4 (v6) bits.
    pub zones: Vec<Name>,
    /// The port, where it is written.
    pub port: Option<u16>,
}

impl Key {
    /// The port to listen at. `dns_port`: that of `dns://` keys that name none (CoreDNS's `-p`, `-dns.port`).
    pub fn port_or(&self, dns_port: u16) -> u16 {
        self.port.unwrap_or(if self.scheme == Scheme::Dns { dns_port } else { self.scheme.default_port() })
    }

    /// Reads a key, and says what about it may not be meant.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, place: &SourceLine) -> Result<(Key, Option<String>), CorefileError> {
        let wrong = |message: String| CorefileError::at(place, message);
        let (scheme, rest) = scheme(text).map_err(|error| wrong(error.into()))?;
        let (host, port) = port(text, rest).map_err(|error| wrong(error.into()))?;
        if host.contains(',') {
            return Err(wrong(format!("{text}: put a space after each comma between zones")));
        }
        if host.ends_with('{') {
            return Err(wrong(format!("{text}: put a space before the {{")));
        }
        let zones = zones(host).map_err(|reason| wrong(format!("{text}: {reason}")))?;
        let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        let warning =
            is_address.then(|| format!("{text} is a zone's name, not an address to listen at; for that use bind"));
        Ok((Key { text: text.to_string(), place: place.clone(), scheme, zones, port }, warning))
    }
}

/// The zones that an argument of a directive names, as a key would: the name, or the reverse zones of an
/// address block; a scheme and a port before and after it don't count (CoreDNS's `NormalizeExact`).
///
/// # Errors
/// Why it names none.
pub fn zones_of(text: &str) -> Result<Vec<Name>, SetupError> {
    let (_, rest) = scheme(text)?;
    Ok(zones(port(text, rest)?.0).map_err(|reason| format!("{text}: {reason}"))?)
}

fn scheme(text: &str) -> Result<(Scheme, &str), SetupError> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok((Scheme::Dns, text)) };
    let scheme = match scheme {
        "dns" => Scheme::Dns,
        "tls" => Scheme::Tls,
        "https" => Scheme::Https,
        "quic" => Scheme::Quic,
        "grpc" | "https3" | "unix" => {
            return Err(
                format!("{text}: {scheme}:// is known, but not supported here; use dns, tls, https or quic").into()
            );
        }
        _ => return Err(format!("{text}: {scheme}:// is no known scheme; use dns, tls, https or quic").into()),
    };
    Ok((scheme, rest))
}

/// The number after the last colon is a port.
fn port<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<u16>), SetupError> {
    let Some((host, port)) = rest.rsplit_once(':') else { return Ok((rest, None)) };
    if port.is_empty() {
        return Err(format!("{text}: the port after the colon is missing").into());
    }
    let digits = port.strip_prefix(['+', '-']).unwrap_or(port);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((rest, None));
    }
    match port.parse() {
        Ok(port) => Ok((host, Some(port))),
        Err(_) => Err(format!("{text}: the port {port} is not one from 0 to 65535").into()),
    }
}

fn zones(host: &str) -> Result<Vec<Name>, SetupError> {
    if host.is_empty() {
        return Err("the zone is missing; write . for all names".into());
    }
    if let Some(zones) = reverse::zones(host)? {
        return Ok(zones);
    }
    let name = Name::parse(host).map_err(|error| format!("is not a domain name: {error}"))?;
    Ok(vec![name.to_lower()])
}

#[cfg(test)]
mod tests;
