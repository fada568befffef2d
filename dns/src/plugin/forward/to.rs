//! `TO`: whom to ask: an address, or a file that names some as resolv.conf(5) does.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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

/// Those whom an argument names; none where it is a file without any. `path` makes a path of what may be one.
///
/// # Errors
/// Why it names nobody.
pub(super) fn read(text: &str, path: impl Fn(&str) -> PathBuf) -> Result<Vec<To>, String> {
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
    if let Some((ip, server_name, port)) = address(rest) {
        let address = SocketAddr::new(ip, port.unwrap_or(if is_tls { TLS } else { DNS }));
        let server_name = server_name.filter(|_| is_tls).map(str::to_owned);
        return Ok(vec![To { address, is_tls, server_name }]);
    }
    let file = path(rest);
    let found = std::fs::read_to_string(&file);
    match found {
        Ok(_) if is_tls => Err(format!("{text}: the servers of a file are asked in the clear; name them by address")),
        Ok(text) => Ok(servers(&text)),
        Err(error) => {
            Err(format!("{text}: is no IP address, and no file such as /etc/resolv.conf: {}: {error}", file.display()))
        }
    }
}

/// Address, name of the server and port: `IP`, `IP:PORT`, `[IP]:PORT`, each with `%NAME` behind the address.
fn address(text: &str) -> Option<(IpAddr, Option<&str>, Option<u16>)> {
    if let Ok(ip) = text.parse() {
        return Some((ip, None, None));
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
    let (ip, name) = match host.rsplit_once('%') {
        Some((ip, name)) => (ip, Some(name).filter(|name| !name.is_empty())),
        None => (host, None),
    };
    Some((ip.parse().ok()?, name, port))
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
