//! The columns of each kind, as kubectl has them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bowline_cluster::span;
use bowline_sources::store::Resource;
use bowline_sources::store::node::{Alive, seconds};
use serde_json::Value;

use crate::store::{name, namespace};

#[cfg(test)]
mod tests;

/// A column, and whether it is shown in wide tables only.
type Column = (&'static str, bool);

/// The columns of a kind; the first is the name.
pub(super) fn columns(resource: &Resource) -> &'static [Column] {
    const NORMAL: bool = false;
    const WIDE: bool = true;
    if resource.is("Service") {
        &[
            ("NAME", NORMAL),
            ("TYPE", NORMAL),
            ("CLUSTER-IP", NORMAL),
            ("EXTERNAL-IP", NORMAL),
            ("PORT(S)", NORMAL),
            ("AGE", NORMAL),
            ("SELECTOR", WIDE),
        ]
    } else if resource.is("Pod") {
        &[
            ("NAME", NORMAL),
            ("READY", NORMAL),
            ("STATUS", NORMAL),
            ("RESTARTS", NORMAL),
            ("AGE", NORMAL),
            ("IP", WIDE),
            ("NODE", WIDE),
        ]
    } else if resource.is("Node") {
        &[
            ("NAME", NORMAL),
            ("STATUS", NORMAL),
            ("LAST-SEEN", NORMAL),
            ("POD-CIDRS", NORMAL),
            ("AGE", NORMAL),
            ("VERSION", NORMAL),
            ("INTERNAL-IP", WIDE),
        ]
    } else if resource.is("Namespace") {
        &[("NAME", NORMAL), ("STATUS", NORMAL), ("AGE", NORMAL)]
    } else if resource.is("EndpointSlice") {
        &[("NAME", NORMAL), ("ADDRESSTYPE", NORMAL), ("PORTS", NORMAL), ("ENDPOINTS", NORMAL), ("AGE", NORMAL)]
    } else if resource.is("Endpoints") {
        &[("NAME", NORMAL), ("ENDPOINTS", NORMAL), ("AGE", NORMAL)]
    } else if resource.is("NetworkPolicy") {
        &[("NAME", NORMAL), ("POD-SELECTOR", NORMAL), ("AGE", NORMAL)]
    } else if resource.is("ServiceCIDR") {
        &[("NAME", NORMAL), ("CIDRS", NORMAL), ("AGE", NORMAL)]
    } else if resource.is("ConfigMap") {
        &[("NAME", NORMAL), ("DATA", NORMAL), ("AGE", NORMAL)]
    } else {
        &[("NAME", NORMAL), ("AGE", NORMAL)]
    }
}

/// The namespace of an object, and its cells: as many as its kind has columns.
pub(super) fn cells(resource: &Resource, object: &Value, alive: &BTreeMap<String, Alive>) -> (String, Vec<String>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut cells = vec![name(object).to_owned()];
    let age = age(&object["metadata"]["creationTimestamp"]);
    if resource.is("Service") {
        cells.extend([
            or(text(&spec["type"]), "ClusterIP"),
            or(text(&spec["clusterIP"]), "<none>"),
            external(spec, status),
            or(join(&spec["ports"], service_port), "<none>"),
            age,
            or(labels(&spec["selector"]), "<none>"),
        ]);
    } else if resource.is("Pod") {
        let (ready, all, restarts) = containers(spec, status);
        let terminating = !object["metadata"]["deletionTimestamp"].is_null();
        let phase = if terminating { "Terminating".into() } else { or(text(&status["phase"]), "Unknown") };
        let ips = or(join(&status["podIPs"], |ip| text(&ip["ip"])), &text(&status["podIP"]));
        cells.extend([
            format!("{ready}/{all}"),
            phase,
            restarts.to_string(),
            age,
            or(ips, "<none>"),
            or(text(&spec["nodeName"]), "<none>"),
        ]);
    } else if resource.is("Node") {
        let of_type = |list: &Value, kind: &str, field: &str| {
            let all = list.as_array().into_iter().flatten().filter(|element| element["type"] == kind);
            all.map(|element| text(&element[field])).collect::<Vec<_>>()
        };
        let now = alive.get(name(object));
        let heard = of_type(&status["conditions"], "Ready", "lastHeartbeatTime");
        let heard = heard.first().map_or("<unknown>".to_owned(), |time| age_of(time) + " ago");
        cells.extend([
            if now.is_some() { "Ready" } else { "NotReady" }.to_owned(),
            if now.is_some() { "now".to_owned() } else { heard },
            or(join(&spec["podCIDRs"], text), "<none>"),
            age,
            or(now.map_or_else(String::new, |alive| alive.version.clone()), "<unknown>"),
            or(of_type(&status["addresses"], "InternalIP", "address").join(","), "<none>"),
        ]);
    } else if resource.is("Namespace") {
        let terminating = !object["metadata"]["deletionTimestamp"].is_null();
        cells.extend([if terminating { "Terminating" } else { "Active" }.to_owned(), age]);
    } else if resource.is("EndpointSlice") {
        let port = |port: &Value| port["port"].as_u64().map_or("*".to_owned(), |port| port.to_string());
        let endpoints = &object["endpoints"];
        cells.extend([
            text(&object["addressType"]),
            or(join(&object["ports"], port), "<unset>"),
            or(some(endpoints, |endpoint| join(&endpoint["addresses"], text)), "<unset>"),
            age,
        ]);
    } else if resource.is("Endpoints") {
        cells.extend([or(addresses(&object["subsets"]), "<none>"), age]);
    } else if resource.is("NetworkPolicy") {
        cells.extend([or(labels(&spec["podSelector"]["matchLabels"]), "<none>"), age]);
    } else if resource.is("ServiceCIDR") {
        cells.extend([join(&spec["cidrs"], text), age]);
    } else if resource.is("ConfigMap") {
        let count = |map: &Value| map.as_object().map_or(0, serde_json::Map::len);
        cells.extend([(count(&object["data"]) + count(&object["binaryData"])).to_string(), age]);
    } else {
        cells.push(age);
    }
    (namespace(object).to_owned(), cells)
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

fn join(list: &Value, text: impl Fn(&Value) -> String) -> String {
    let parts: Vec<String> = list.as_array().into_iter().flatten().map(text).filter(|text| !text.is_empty()).collect();
    parts.join(",")
}

/// The first three, and how many more.
fn some(list: &Value, text: impl Fn(&Value) -> String) -> String {
    let all: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
    match all.len().checked_sub(3) {
        Some(more @ 1..) => format!("{} + {more} more...", all[..3].join(",")),
        _ => all.join(","),
    }
}

/// Address and port of each that is ready, as kubectl has them.
fn addresses(subsets: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for subset in list(subsets) {
        let ips: Vec<String> = list(&subset["addresses"])
            .iter()
            .map(|address| address["ip"].as_str().unwrap_or_default().to_owned())
            .collect();
        let ports = list(&subset["ports"]);
        for port in &ports {
            let with = |ip: &String| match ip.contains(':') {
                true => format!("[{ip}]:{}", port["port"]),
                false => format!("{ip}:{}", port["port"]),
            };
            all.extend(ips.iter().map(with).map(Value::from));
        }
        if ports.is_empty() {
            all.extend(ips.into_iter().map(Value::from));
        }
    }
    some(&Value::Array(all), |one| one.as_str().unwrap_or_default().to_owned())
}

fn labels(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

fn service_port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    match port["nodePort"].as_u64() {
        Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port["port"]),
        _ => format!("{}/{protocol}", port["port"]),
    }
}

fn external(spec: &Value, status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ips = join(&spec["externalIPs"], text);
    let ingress = join(&status["loadBalancer"]["ingress"], |one| or(text(&one["ip"]), &text(&one["hostname"])));
    match spec["type"].as_str() {
        Some("ExternalName") => text(&spec["externalName"]),
        Some("LoadBalancer") => {
            let both: Vec<String> = [ingress, ips].into_iter().filter(|text| !text.is_empty()).collect();
            or(both.join(","), "<pending>")
        }
        _ => or(ips, "<none>"),
    }
}

/// How many containers are ready, of how many, and how often they were restarted.
fn containers(spec: &Value, status: &Value) -> (usize, usize, u64) {
    let all = spec["containers"].as_array().map_or(0, Vec::len);
    let Some(statuses) = status["containerStatuses"].as_array() else {
        let list = status["conditions"].as_array().into_iter().flatten();
        let ready =
            list.filter(|condition| condition["type"] == "Ready").any(|condition| condition["status"] == "True");
        return (if ready { all } else { 0 }, all, 0);
    };
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    (ready, all, statuses.iter().filter_map(|status| status["restartCount"].as_u64()).sum())
}

fn age(time: &Value) -> String {
    time.as_str().map_or("<unknown>".to_owned(), age_of)
}

/// How long ago, as kubectl writes it.
fn age_of(time: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match seconds(time) {
        Some(then) => span::ago(i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(then)),
        None => "<unknown>".to_owned(),
    }
}

/// Rows under a head, whose columns only grow wider.
pub(super) struct Table {
    columns: &'static [Column],
    wide: bool,
    namespaces: bool,
    /// Stands before each name.
    prefix: String,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    has_head: bool,
}

impl Table {
    pub(super) fn new(columns: &'static [Column], wide: bool, namespaces: bool, prefix: String) -> Table {
        Table { columns, wide, namespaces, prefix, widths: Vec::new(), rows: Vec::new(), has_head: false }
    }

    /// Adds what [`cells`] made.
    pub(super) fn push(&mut self, (namespace, mut cells): (String, Vec<String>)) {
        if let Some(name) = cells.first_mut() {
            name.insert_str(0, &self.prefix);
        }
        let shown = cells.into_iter().zip(self.columns).filter(|(_, (_, wide))| self.wide || !wide);
        self.rows.push(self.namespaces.then_some(namespace).into_iter().chain(shown.map(|(cell, _)| cell)).collect());
    }

    /// The rows since the last time; the first time, with their head.
    pub(super) fn more(&mut self) -> String {
        if !self.has_head {
            let names = self.columns.iter().filter(|(_, wide)| self.wide || !wide).map(|(name, _)| (*name).to_owned());
            self.rows.insert(0, self.namespaces.then(|| "NAMESPACE".to_owned()).into_iter().chain(names).collect());
            self.has_head = true;
        }
        let mut text = String::new();
        let rows = std::mem::take(&mut self.rows);
        self.widths.resize(rows.first().map_or(0, Vec::len), 0);
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// All of it.
    pub(super) fn render(mut self) -> String {
        self.more()
    }
}
