//! NodeLocal DNSCache's Corefile: a template with placeholders, and the stub domains of kube-dns's ConfigMap
//! as blocks of their own.
//!
//! | placeholder | becomes |
//! |-|-|
//! | `__PILLAR__LOCAL__DNS__` | the addresses of `-localip`; before a port the first of them |
//! | `__PILLAR__DNS__SERVER__` | nothing: `-localip` names it too |
//! | `__PILLAR__DNS__DOMAIN__` | the cluster's domain |
//! | `__PILLAR__CLUSTER__DNS__` | the address of the Service behind which the cluster's DNS servers are |
//! | `__PILLAR__UPSTREAM__SERVERS__` | `upstreamNameservers`, else /etc/resolv.conf |

use std::fmt::Write;
use std::net::IpAddr;

use super::kube_dns::KubeDns;
use super::{CorefileError, SourceLine};

const PREFIX: &str = "__PILLAR__";
const LOCAL: &str = "__PILLAR__LOCAL__DNS__";
const SERVER: &str = "__PILLAR__DNS__SERVER__";
const DOMAIN: &str = "__PILLAR__DNS__DOMAIN__";
const CLUSTER: &str = "__PILLAR__CLUSTER__DNS__";
const UPSTREAM: &str = "__PILLAR__UPSTREAM__SERVERS__";

/// What the placeholders stand for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens: node-cache's `-localip`; at least one.
    pub local: Vec<IpAddr>,
    /// The port of stub domains: node-cache's `-dns.port`.
    pub port: u16,
    /// The address of the Service that node-cache's `-upstreamsvc` names, if it is known.
    pub cluster_dns: Option<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
}

/// Whether a Corefile is such a template.
pub fn is_template(text: &str) -> bool {
    text.contains(PREFIX)
}

/// The Corefile that the template `text` makes. Its lines keep their numbers; stub domains come after them.
///
/// # Errors
/// A placeholder is unknown, or what it stands for is not known.
pub fn fill(text: &str, file: &str, settings: &Settings, asked: &KubeDns) -> Result<String, CorefileError> {
    let local: Vec<String> = settings.local.iter().map(ToString::to_string).collect();
    let upstream = match asked.upstream_nameservers.as_slice() {
        [] => "/etc/resolv.conf".to_string(),
        servers => servers.join(" "),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    if !asked.upstream_nameservers.is_empty() {
        over_udp(&mut lines);
    }
    for (index, line) in lines.iter_mut().enumerate() {
        if !line.contains(PREFIX) {
            continue;
        }
        let place = SourceLine { file: file.into(), line: u32::try_from(index + 1).unwrap_or(u32::MAX) };
        *line = with_local(line, settings, &local);
        *line = line.replace(SERVER, "").replace(DOMAIN, &settings.domain).replace(UPSTREAM, &upstream);
        if line.contains(CLUSTER) {
            let Some(address) = settings.cluster_dns else {
                let message = format!(
                    "{CLUSTER} stands for the address of the Service of the cluster's DNS servers, which is not known; name the Service with -upstreamsvc, and the cluster that has it with --state"
                );
                return Err(CorefileError::at(&place, message));
            };
            *line = line.replace(CLUSTER, &address.to_string());
        }
        if let Some(at) = line.find(PREFIX) {
            let unknown: String = line[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let message = format!(
                "{unknown} is no placeholder of NodeLocal DNSCache; known are {LOCAL}, {SERVER}, {DOMAIN}, {CLUSTER} and {UPSTREAM}"
            );
            return Err(CorefileError::at(&place, message));
        }
    }
    let mut text = lines.join("\n");
    text.push('\n');
    for (stub, servers) in &asked.stub_domains {
        let _ = write!(
            text,
            "{stub}:{} {{\n    errors\n    cache 30\n    bind {}\n    forward . {}\n}}\n",
            settings.port,
            local.join(" "),
            servers.join(" ")
        );
    }
    Ok(text)
}

/// Puts in the addresses. Where a port follows (`health __PILLAR__LOCAL__DNS__:8080`) there can be but one.
fn with_local(line: &str, settings: &Settings, local: &[String]) -> String {
    let mut parts = line.split(LOCAL);
    let mut filled = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let is_in_brackets = filled.ends_with('[') && part.starts_with(']');
        match settings.local.first() {
            Some(IpAddr::V6(first)) if part.starts_with(':') => {
                let _ = write!(filled, "[{first}]");
            }
            Some(first) if part.starts_with(':') || is_in_brackets => {
                let _ = write!(filled, "{first}");
            }
            _ => filled.push_str(&local.join(" ")),
        }
        filled.push_str(part);
    }
    filled
}

/// Servers of the operator's own are asked over UDP: takes away `{ force_tcp }` after the placeholder.
fn over_udp(lines: &mut [String]) {
    for index in 0..lines.len().saturating_sub(2) {
        let [first, second, third] = &mut lines[index..index + 3] else { return };
        if first.contains(UPSTREAM)
            && first.trim_end().ends_with('{')
            && second.trim() == "force_tcp"
            && third.trim() == "}"
        {
            *first = first.trim_end().trim_end_matches('{').to_string();
            second.clear();
            third.clear();
        }
    }
}

#[cfg(test)]
mod tests;
