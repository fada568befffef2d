//! The directive's options.

use bowline_cluster::selector::{Selector, SelectorError};

use super::local;
use crate::corefile::{CorefileError, Directive};
use crate::plugin::Building;
use crate::plugin::zones::{Fallthrough, Zones};
use crate::records::{Options, PodMode};

/// All options, for a name that is none.
const KNOWN: &[&str] = &[
    "endpoint",
    "tls",
    "kubeconfig",
    "apiserver_qps",
    "apiserver_burst",
    "apiserver_max_inflight",
    "namespaces",
    "namespace_labels",
    "labels",
    "pods",
    "endpoint_pod_names",
    "ttl",
    "noendpoints",
    "fallthrough",
    "ignore",
    "multicluster",
    "zonal",
    "startup_timeout",
];

/// Reads them.
///
/// # Errors
/// One is wrong, or two contradict each other.
pub(super) fn read(building: &Building<'_>, directive: &Directive) -> Result<(Options, Fallthrough), CorefileError> {
    let zones = Zones::read(directive, &directive.args, building)?;
    let mut multicluster = Zones::default();
    for option in directive.body().iter().filter(|option| option.name == "multicluster") {
        // CoreDNS: without zones there are none.
        multicluster =
            if option.args.is_empty() { Zones::default() } else { Zones::read(option, &option.args, building)? };
        if let Some(other) = multicluster.names().iter().find(|zone| !zones.names().contains(zone)) {
            return Err(option.error(format!("{other} is none of the directive's zones; add it there")));
        }
    }
    let mut options = Options::new(zones.names(), multicluster.names());
    if options.primary().is_none() {
        return Err(directive.error("has reverse zones only; add the cluster's own, such as cluster.local"));
    }
    options.local_ips = local::addresses(building);
    let mut fallthrough = Fallthrough::default();
    for option in directive.body() {
        match option.name.as_str() {
            "fallthrough" => fallthrough = Fallthrough::read(option)?,
            "multicluster" => {}
            _ => read_one(building, option, &mut options)?,
        }
    }
    let stands = |name: &str| directive.body().iter().find(|option| option.name == name);
    if let (Some(option), Some(_)) = (stands("namespace_labels"), stands("namespaces")) {
        return Err(option.error("stands beside namespaces; keep one of the two"));
    }
    if let (Some(option), true) = (stands("zonal"), options.no_endpoints) {
        return Err(option.error("needs endpoints, which noendpoints turns off; remove one of the two"));
    }
    Ok((options, fallthrough))
}

fn read_one(building: &Building<'_>, option: &Directive, options: &mut Options) -> Result<(), CorefileError> {
    match option.name.as_str() {
        "pods" => {
            options.pods = match option.one_arg()? {
                "disabled" => PodMode::Disabled,
                "insecure" => PodMode::Insecure,
                "verified" => PodMode::Verified,
                other => return Err(option.error(format!("{other} is not disabled, insecure or verified"))),
            };
        }
        "namespaces" => {
            options.namespaces.extend(option.args_between(1, usize::MAX)?.iter().cloned());
        }
        "labels" => options.labels = Some(selector(option)?),
        "namespace_labels" => options.namespace_labels = Some(selector(option)?),
        "ttl" => {
            let wanted = "a number of seconds from 0 to 3600";
            let ttl: u32 = option.parse(0, wanted)?;
            if ttl > 3600 {
                return Err(option.error(format!("{ttl} is not {wanted}")));
            }
            options.ttl = ttl;
        }
        "endpoint_pod_names" => {
            option.no_args()?;
            options.endpoint_pod_names = true;
        }
        "noendpoints" => {
            option.no_args()?;
            options.no_endpoints = true;
        }
        "zonal" => {
            option.no_args()?;
            options.zonal = true;
        }
        "ignore" => match option.arg(0) {
            Some("empty_service") => options.ignore_empty_service = true,
            Some(other) => return Err(option.error(format!("{other} is not empty_service"))),
            // As CoreDNS: nothing is ignored.
            None => {}
        },
        // Where the state comes from, is decided before any plugin is set up.
        "endpoint" => drop(option.args_between(1, usize::MAX)?),
        "tls" => drop(option.args_between(3, 3)?),
        "kubeconfig" => drop(option.args_between(1, 2)?),
        // The ports are open: it is the questions that wait.
        "startup_timeout" => building.services.feed.wait_at_start(option.duration(0)?),
        // For Go's client; ours lists and watches once.
        "apiserver_qps" => {
            let qps: f32 = option.one_arg().and_then(|_| option.parse(0, "a number of at least 0"))?;
            if qps.is_nan() || qps < 0.0 {
                return Err(option.error(format!("{qps} is not a number of at least 0")));
            }
        }
        "apiserver_burst" | "apiserver_max_inflight" => {
            let _: u32 = option.one_arg().and_then(|_| option.parse(0, "a whole number of at least 0"))?;
        }
        _ => return Err(option.unknown_option(KNOWN)),
    }
    Ok(())
}

fn selector(option: &Directive) -> Result<Selector, CorefileError> {
    let text = option.args_between(1, usize::MAX)?.join(" ");
    text.parse().map_err(|error: SelectorError| option.error(error.to_string()))
}
