//! What of pods' network is on this node: pods that are attached, addresses that are held, and the ways to other nodes.

use std::net::IpAddr;

use anyhow::Context as _;
use bowline_cni::view::{self, AttachedView, WayView};
use serde::Serialize;

use super::{GetArgs, Output};
use crate::root;
use crate::table::render;

/// What of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Pods, a line each.
    Pods,
    /// Addresses, a line each.
    Addresses,
    /// Networks of other nodes' pods, a line each.
    Routes,
}

impl What {
    /// What a word means; None for what is not of pods' network.
    pub(super) fn named(word: &str) -> Option<What> {
        match word {
            "pods" | "pod" | "po" => Some(What::Pods),
            "addresses" | "address" => Some(What::Addresses),
            "routes" | "route" => Some(What::Routes),
            _ => None,
        }
    }
}

/// An address, and whose it is.
#[derive(Serialize)]
struct AddressRow<'a> {
    address: IpAddr,
    stage: &'static str,
    container: &'a str,
    interface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
}

/// Prints what was asked for; only those of these names, where any are given.
pub(super) fn run(args: &GetArgs, what: What, names: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.selector.is_none() && !args.watch && args.output != Output::Name,
        "what is on the node has no labels, no watch and no names of objects; for those of the state give --state"
    );
    root::need("get", "reads what is attached, and the kernel's routes, where no --state is given")?;
    if what == What::Routes {
        let mut ways = view::ways().context("reading the kernel's routes")?;
        ways.retain(|way| names.is_empty() || names.contains(&way.network.to_string()));
        return super::kernel::print(args.output, &ways, || ways_table(&ways));
    }
    let folder = &args.attached.cni_state_dir;
    let mut attached = view::attached(folder).with_context(|| {
        format!(
            "this node has no pods' network ({}): it has services and backends, and with `bowline node --pod-network` pods, \
             addresses and routes; those of the cluster are in its state: give --state etcd:URL,URL",
            folder.display()
        )
    })?;
    attached.retain(|one| {
        let namespace = one.pod.as_ref().map(|pod| pod.namespace.as_str());
        let is_in = args.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted));
        let is_named = |name: &String| one.pod.as_ref().is_some_and(|pod| pod.name == *name) || one.container == *name;
        is_in && (names.is_empty() || names.iter().any(is_named))
    });
    match what {
        What::Pods => {
            super::kernel::print(args.output, &attached, || pods_table(&attached, args.output == Output::Wide))
        }
        _ => {
            let mut rows: Vec<AddressRow<'_>> = attached.iter().flat_map(addresses_of).collect();
            rows.sort_by_key(|row| row.address);
            super::kernel::print(args.output, &rows, || addresses_table(&rows))
        }
    }
}

fn addresses_of(one: &AttachedView) -> impl Iterator<Item = AddressRow<'_>> {
    one.addresses.iter().map(|address| AddressRow {
        address: *address,
        stage: one.stage,
        container: &one.container,
        interface: &one.interface,
        namespace: one.pod.as_ref().map(|pod| pod.namespace.as_str()),
        pod: one.pod.as_ref().map(|pod| pod.name.as_str()),
    })
}

fn listed<T: ToString>(all: &[T]) -> String {
    if all.is_empty() { "-".into() } else { all.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
}

/// A container's id as people see it elsewhere.
fn short(container: &str) -> String {
    container.chars().take(13).collect()
}

fn pods_table(all: &[AttachedView], wide: bool) -> String {
    let mut head = vec!["NAMESPACE", "NAME", "CONTAINER", "INTERFACE", "ADDRESSES", "LINK", "STAGE"];
    if wide {
        head.extend(["MTU", "MAC", "PORTS", "NETNS"]);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let pod = one.pod.as_ref();
            let mut row = vec![
                pod.map_or("-".into(), |pod| pod.namespace.clone()),
                pod.map_or("-".into(), |pod| pod.name.clone()),
                if wide { one.container.clone() } else { short(&one.container) },
                one.interface.clone(),
                listed(&one.addresses),
                one.link.clone(),
                one.stage.to_owned(),
            ];
            if wide {
                row.extend([one.mtu.to_string(), one.mac.clone(), listed(&one.ports), one.netns.clone()]);
            }
            row
        })
        .collect();
    render(&head, &rows)
}

fn addresses_table(rows: &[AddressRow<'_>]) -> String {
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.address.to_string(),
                row.stage.to_owned(),
                row.namespace.unwrap_or("-").to_owned(),
                row.pod.unwrap_or("-").to_owned(),
                short(row.container),
                row.interface.to_owned(),
            ]
        })
        .collect();
    render(&["ADDRESS", "STAGE", "NAMESPACE", "NAME", "CONTAINER", "INTERFACE"], &lines)
}

fn ways_table(ways: &[WayView]) -> String {
    let lines: Vec<Vec<String>> = ways
        .iter()
        .map(|way| {
            let by = if way.tunnel { "vxlan" } else { "direct" };
            let to = way.node.map_or("-".into(), |node| node.to_string());
            vec![way.network.to_string(), by.to_owned(), to, way.link.clone()]
        })
        .collect();
    render(&["NETWORK", "BY", "NODE", "LINK"], &lines)
}
