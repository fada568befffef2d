//! Pages over HTTP, as `health`, `ready` and `prometheus` give them.

use crate::corefile::SetupError;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bowline_observe::pages::Page;

use super::Block;

/// Makes a page from the blocks that serve now.
pub type Handler = Arc<dyn Fn(&[Arc<Block>]) -> Page + Send + Sync>;
/// Pages by address and path.
pub type Routes = BTreeMap<SocketAddr, BTreeMap<&'static str, Handler>>;

/// The addresses that an address of Go's form means: `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`.
/// Without a host: those of `node_local`, or every address of the host.
///
/// # Errors
/// It has no port, or the host is neither an address nor `localhost`.
pub fn addresses(text: &str, node_local: &[IpAddr]) -> Result<Vec<SocketAddr>, SetupError> {
    let wrong = || format!("{text:?} is no address to listen at: write [HOST]:PORT, the host an IP address");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let hosts = match host {
        "" if node_local.is_empty() => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        "" => node_local.to_vec(),
        "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        host => vec![host.parse().map_err(|_| wrong())?],
    };
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect())
}
