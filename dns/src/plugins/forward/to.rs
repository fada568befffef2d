//! `TO`: whom to ask: an address, the name of a host, or a file that names some as resolv.conf(5) does.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::wire::Name;

#[cfg(test)]
mod tests;

/// Port of plain DNS.
const DNS: u16 = 53;
/// Port of DNS over TLS (RFC 7858).
const TLS: u16 = 853;

/// Somebody to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct To {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    /// By which name the server must prove itself: `tls://9.9.9.9%dns.quad9.net`.
    pub(super) server_name: Option<String>,
}

/// Those whom an argument names; none where it is a file without any. `path` makes a path of what may be one, `lookup`
/// gives the addresses of a host.
///
/// # Errors
/// Why it names nobody.
pub(super) fn read(
    text: &str,
    path: impl Fn(&str) -> PathBuf,
    lookup: impl Fn(&str) -> Result<Vec<IpAddr>, String>,
) -> Result<Vec<To>, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
    let is_tls = match scheme {
        "dns" => false,
        "tls" => true,
        "https" => return Err(format!("{text}: DNS over HTTPS is not spoken to upstreams; use tls://")),
        "grpc" | "quic" | "https3" | "unix" => {
            return Err(format!("{text}: {scheme}:// is not spoken to upstreams; use dns:// or tls://"));
        }
        _ => return Err(format!("{text}: {scheme}:// is no known scheme; use dns:// or tls://")),
    };
    let parts = parts(rest);
    let to = |ip, server_name: Option<&str>, port: Option<u16>| {
        let address = SocketAddr::new(ip, port.unwrap_or(if is_tls { TLS } else { DNS }));
        To { address, is_tls, server_name: server_name.filter(|_| is_tls).map(str::to_owned) }
    };
    if let Some((host, server_name, port)) = parts
        && let Ok(ip) = host.parse()
    {
        return Ok(vec![to(ip, server_name, port)]);
    }
    let file = path(rest);
    let found = std::fs::read_to_string(&file);
    match found {
        Ok(_) if is_tls => Err(format!("{text}: the servers of a file are asked in the clear; name them by address")),
        Ok(text) => Ok(servers(&text)),
        Err(error) => match parts.filter(|(host, ..)| is_host(host)) {
            Some((host, server_name, port)) => {
                let found = lookup(host).map_err(|reason| format!("{text}: {reason}"))?;
                Ok(found.into_iter().map(|ip| to(ip, server_name, port)).collect())
            }
            None => Err(format!(
                "{text}: is no IP address, no name of a host, and no file such as /etc/resolv.conf: {}: {error}",
                file.display()
            )),
        },
    }
}

/// Whether it can be the name of a host. An address with a mistake can't: no top-level domain is a number.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.split('.').all(is_label) && !is_number && Name::parse(name).is_ok()
}

/// Address or host, name of the server and port: `IP`, `IP:PORT`, `[IP]:PORT`, each with `%NAME` behind the address.
fn parts(text: &str) -> Option<(&str, Option<&str>, Option<u16>)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, None, None));
    }
    let (host, rest) = match text.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => {
            // The last colon is a port's, but in an IPv6 address without brackets.
            let behind = text.rfind('%').unwrap_or(0);
            let split = text[behind..].rfind(':').map_or(text.len(), |colon| behind + colon);
            text.split_at(split)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    match host.rsplit_once('%') {
        Some((host, name)) => Some((host, Some(name).filter(|name| !name.is_empty()), port)),
        None => Some((host, None, port)),
    }
}

/// The servers that a resolv.conf(5) names. What is no address is left out.
fn servers(text: &str) -> Vec<To> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        let ip = ip.split('%').next().unwrap_or_default().parse().ok()?;
        Some(To { address: SocketAddr::new(ip, DNS), is_tls: false, server_name: None })
    };
    text.lines().filter_map(server).collect()
}
