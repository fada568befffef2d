//! Is this node fit for pods' network: what of others is in its way, what the agent will set, and what pods will get.

use std::fs;
use std::path::Path;

use bowline_net::{Link, Net};

use crate::attachment::is_wire;
use crate::install::{CONFLIST, others};
use crate::peers::{OVERHEAD_V4, is_ours};
use crate::sysctls;

/// Interfaces by which other networks are known: how their names begin, and whose they are.
const OTHERS: [(&str, &str); 9] = [
    ("flannel", "flannel"),
    ("cni0", "flannel's or the reference plugins' bridge"),
    ("cilium_", "Cilium"),
    ("vxlan.calico", "Calico"),
    ("cali", "Calico"),
    ("tunl0", "Calico (IPIP)"),
    ("weave", "Weave"),
    ("antrea-", "Antrea"),
    ("kube-bridge", "kube-router"),
];

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub is_well: bool,
    /// What was found.
    pub found: String,
    /// What to do; empty: nothing.
    pub todo: String,
}

fn well(what: &'static str, found: impl Into<String>) -> Remark {
    Remark { what, is_well: true, found: found.into(), todo: String::new() }
}

fn mind(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Remark {
    Remark { what, is_well: false, found: found.into(), todo: todo.into() }
}

/// Looks at this node, in this thread's network namespace. Changes nothing.
pub fn check(conf_dir: &Path) -> Vec<Remark> {
    let mut remarks = configurations(conf_dir);
    remarks.push(forwarding());
    match Net::open().and_then(|net| net.links().map(|links| (net, links)).map_err(std::io::Error::other)) {
        Ok((net, links)) => {
            remarks.push(other_networks(&links));
            remarks.push(mtu(&net, &links));
        }
        Err(error) => remarks.push(mind("interfaces", error.to_string(), "the kernel must answer netlink")),
    }
    remarks.push(rp_filter());
    remarks
}

/// Files that a runtime would read before ours, or in whose company it reads none at all.
fn configurations(conf_dir: &Path) -> Vec<Remark> {
    let what = "configurations";
    let files = match others(conf_dir) {
        Ok(files) => files,
        Err(error) => {
            let todo = "name the folder of your runtime by --cni-conf-dir";
            return vec![mind(what, format!("{}: {error}", conf_dir.display()), todo)];
        }
    };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let broken: Vec<String> = files
        .iter()
        .filter(|path| !fs::read(path).is_ok_and(|text| serde_json::from_slice::<serde_json::Value>(&text).is_ok()))
        .map(|path| name(path))
        .collect();
    let before: Vec<String> = files.iter().map(|path| name(path)).filter(|name| name.as_str() < CONFLIST).collect();
    let after: Vec<String> = files.iter().map(|path| name(path)).filter(|name| name.as_str() > CONFLIST).collect();
    let mut remarks = Vec::new();
    if !broken.is_empty() {
        let found = format!("{} in {}: no JSON", broken.join(", "), conf_dir.display());
        let todo = "containerd loads no network at all beside such a file: mend it, or take it away; the agent sets it aside \
                    unless --cni-exclusive=false";
        remarks.push(mind(what, found, todo));
    }
    if !before.is_empty() {
        let found = format!("{} in {} sort before {CONFLIST}", before.join(", "), conf_dir.display());
        let todo = "the runtime takes the first: the agent sets them aside unless --cni-exclusive=false, and cleanup puts \
                    them back";
        remarks.push(mind(what, found, todo));
    }
    if remarks.is_empty() {
        let found = match (conf_dir.join(CONFLIST).exists(), after.is_empty()) {
            (true, _) => format!("{CONFLIST} is in place in {}", conf_dir.display()),
            (false, true) => format!("none in {}", conf_dir.display()),
            (false, false) => format!("{} in {}; {CONFLIST} will sort before", after.join(", "), conf_dir.display()),
        };
        remarks.push(well(what, found));
    }
    remarks
}

fn setting(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", sysctls::folder())).unwrap_or_default().trim().to_owned()
}

fn forwarding() -> Remark {
    let (v4, v6) = (setting("net/ipv4/ip_forward"), setting("net/ipv6/conf/all/forwarding"));
    let on = |value: &str| if value == "1" { "on" } else { "off" };
    let found = format!("IPv4 {}, IPv6 {}", on(&v4), on(&v6));
    if (v4.as_str(), v6.as_str()) == ("1", "1") {
        well("forwarding", found)
    } else {
        mind(
            "forwarding",
            found,
            "the agent turns it on (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding); cleanup turns it off again",
        )
    }
}

/// Strict filters drop what comes back another way than it goes.
fn rp_filter() -> Remark {
    let all = setting("net/ipv4/conf/all/rp_filter");
    let found = format!("net.ipv4.conf.all.rp_filter is {all}");
    match all.as_str() {
        "1" => mind(
            "rp_filter",
            found,
            "answers that come back another way than they go are dropped on every interface; set it to 0 or 2 if pods of \
             another node don't answer",
        ),
        _ => well("rp_filter", found),
    }
}

fn other_networks(links: &[Link]) -> Remark {
    let mut found: Vec<String> = Vec::new();
    for (prefix, whose) in OTHERS {
        let of: Vec<&str> = links
            .iter()
            .filter(|link| !is_ours(link))
            .map(|link| link.name.as_str())
            .filter(|name| name.starts_with(prefix))
            .take(3)
            .collect();
        if !of.is_empty() {
            found.push(format!("{} ({whose})", of.join(", ")));
        }
    }
    if found.is_empty() {
        return well("other networks", "no interface of one");
    }
    let mut todo =
        "pods of that network keep what they have until they end; docs/pod-network.md says how a node is moved"
            .to_owned();
    if found.iter().any(|found| found.ends_with("(flannel)")) {
        todo += "; give the agent --flannel-net-conf, so that nodes which have not moved still reach this one's pods";
    }
    mind("other networks", found.join("; "), todo)
}

/// What pods would get, with and without tunnels.
fn mtu(net: &Net, links: &[Link]) -> Remark {
    let Ok(beyond) = "192.0.2.1".parse() else { return well("MTU", "not looked at") };
    let way = net.way_to(beyond).ok().flatten();
    let link = way.and_then(|way| links.iter().find(|link| link.index == way.device));
    let Some(link) = link.filter(|link| link.kind != "vxlan" && !is_wire(link)) else {
        return mind("MTU", "no default route", "pods reach other nodes only if each Node's InternalIP is reached");
    };
    let found = format!(
        "{} has {}: pods get {}, with tunnels {}",
        link.name,
        link.mtu,
        link.mtu,
        link.mtu.saturating_sub(OVERHEAD_V4)
    );
    if link.mtu < 1330 {
        return mind("MTU", found, "IPv6 needs 1280 bytes inside a tunnel: raise it to 1350, or use routes alone");
    }
    well("MTU", found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn files_that_sort_before_or_break_the_load_are_named() {
        let folder = std::env::temp_dir().join(format!("bowline-cni-check-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(configurations(&folder), [well("configurations", format!("none in {}", folder.display()))]);
        fs::write(folder.join("10-later.conflist"), "{}").unwrap();
        assert!(configurations(&folder)[0].is_well);
        fs::write(folder.join("00-first.conf"), "{}").unwrap();
        fs::write(folder.join("99-half.conflist"), "{\"name\":").unwrap();
        let said = configurations(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(said.len(), 2);
        assert!(said[0].found.starts_with("99-half.conflist ") && said[0].todo.contains("containerd"), "{said:?}");
        assert!(said[1].found.starts_with("00-first.conf ") && !said[1].is_well, "{said:?}");
    }
}
