//! Both pages of /metrics after the same questions: what CoreDNS counts is counted alike.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bowline_dns::wire::{Message, Type};
use serde_json::json;

use crate::ask::Ask;
use crate::case::Case;
use crate::client;
use crate::ground::{Ground, PATIENCE};
use crate::names::Names;
use crate::objects::{Object, cluster_ip, endpoint, headless, slice};
use crate::pair::{Pair, Tested};

/// Series that aren't compared, by the beginning of their names, with the reason.
const APART: &[(&str, &str)] = &[
    ("coredns_build_info", "it tells the program's own version"),
    ("coredns_kubernetes_rest_client_rate_limiter_", "no limiter of our own stands in front of the API server"),
    ("coredns_health_request_duration_seconds", "the server's own questions, once a second"),
];
/// Counted alike only in sum: by this label the servers differ, as docs/dns-differences.md says.
const SUMMED: &[(&str, &str)] = &[("coredns_dns_responses_total", "plugin")];
/// There in both, with other values, as docs/dns-differences.md says.
const OWN_VALUES: &[&str] = &[
    "coredns_proxy_conn_cache_hits_total",
    "coredns_proxy_conn_cache_misses_total",
    "coredns_cache_entries",
    "coredns_kubernetes_rest_client_",
];
/// With a hosts file.
const HOSTS: &str = "
. {
    hosts hosts.txt {
        192.0.2.1 inline.example.org
        fallthrough
    }
    kubernetes cluster.local {
        kubeconfig {$KUBECONFIG}
    }
    prometheus {$METRICS}
    health {$HEALTH}
    forward . {$RESOLV_CONF}
}
";

/// A page: the types of metrics and what is said of them, and the values of series by name and labels.
#[derive(Debug, Default)]
struct Page {
    types: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

/// What is counted otherwise under kubeadm's Corefile, or with a hosts file; empty if all is well.
pub(crate) fn differences(ground: &Ground) -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dns/corefiles");
    let case = Case { name: "metrics".to_owned(), ..Case::read(&folder.join("kubeadm.Corefile")) };
    let mut differences = compared(ground, &case);
    let hosts = ground.place.folder("metrics-hosts").unwrap().join("hosts.txt");
    std::fs::write(&hosts, "192.0.2.7 host.example.org other.example.org\n192.0.2.8 *.example.org\n").unwrap();
    // Whole seconds: what floats make of fractions is each server's own.
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    std::fs::File::options().write(true).open(&hosts).unwrap().set_modified(time).unwrap();
    let zones = vec!["cluster.local".to_owned()];
    differences
        .extend(compared(ground, &Case { name: "metrics-hosts".to_owned(), text: HOSTS.to_owned(), zones, ..case }));
    differences
}

/// What is counted otherwise under a Corefile.
fn compared(ground: &Ground, case: &Case) -> Vec<String> {
    let pair = match Pair::start(ground, case) {
        Ok(pair) => pair,
        Err(error) => return vec![format!("{error:#}")],
    };
    // Services first, and slices that don't say when their change began: both servers know them before it counts.
    change(ground, &pair, 1, json!({}));
    if case.text.lines().any(|line| line.trim() == "loop") {
        wait_for_probes(&pair);
    }
    let before = [&pair.ours, &pair.theirs].map(Page::of);
    let triggered = json!({"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05.678Z"});
    change(ground, &pair, 2, triggered);
    for round in questions(case, ground) {
        let answers = pair.ask(&round, PATIENCE);
        let silent = answers.iter().flatten().filter(|answer| answer.is_none()).count();
        assert_eq!(silent, 0, "questions without an answer are asked again and counted twice");
    }
    let after = [&pair.ours, &pair.theirs].map(Page::of);
    pair.stop();
    let mut differences = Vec::new();
    let [ours, theirs] = [&after[0], &after[1]];
    for (name, kind) in &theirs.types {
        if is_compared(name) && ours.types.get(name) != Some(kind) {
            differences.push(format!("{name}: CoreDNS's type is {kind}, ours {:?}", ours.types.get(name)));
        }
        let helps = [ours, theirs].map(|page| page.helps.get(name));
        if is_compared(name) && helps[0] != helps[1] {
            differences.push(format!("{name}: we say {:?}, CoreDNS {:?}", helps[0], helps[1]));
        }
    }
    let [ours, theirs] = [0, 1].map(|one: usize| after[one].since(&before[one]));
    for (series, value) in &theirs {
        let has_own_values = OWN_VALUES.iter().any(|name| series.starts_with(name));
        match ours.get(series) {
            // Where questions come at once each opens a connection: none finds one open, and all of them are misses.
            None if series.contains("conn_cache_hits_total{proto=\"tcp\"") => {
                let misses = series.replace("hits", "misses");
                let count = |page: &BTreeMap<String, f64>| page.get(&misses).copied().unwrap_or_default();
                if count(&ours) != count(&theirs) + value {
                    differences.push(format!(
                        "{misses}: CoreDNS counts {} and {value} hits, we {}",
                        count(&theirs),
                        count(&ours)
                    ));
                }
            }
            None => differences.push(format!("{series}: CoreDNS shows {value}, we don't show it")),
            Some(own) if own != value && !has_own_values => {
                differences.push(format!("{series}: CoreDNS counts {value}, we {own}"));
            }
            Some(_) => {}
        }
    }
    for expected in EXPECTED {
        let name = expected.split('{').next().unwrap_or_default();
        if !after[1].values.keys().any(|series| series.starts_with(expected)) {
            differences.push(format!("{name}: CoreDNS doesn't show {expected}, so nothing was compared"));
        }
    }
    differences
}

/// Series that must be on CoreDNS's page, so that they are compared.
const EXPECTED: &[&str] = &[
    "coredns_kubernetes_dns_programming_duration_seconds_count{service_kind=\"cluster_ip\"}",
    "coredns_kubernetes_dns_programming_duration_seconds_count{service_kind=\"headless_with_selector\"}",
    "coredns_kubernetes_rest_client_requests_total{code=\"200\"",
    "coredns_hosts_reload_timestamp_seconds",
];

/// Waits until each server has counted the question that its `loop` asks it. CoreDNS asks some seconds later if it
/// was too early for its own socket.
fn wait_for_probes(pair: &Pair) {
    let is_probe =
        |series: &str| series.starts_with("coredns_dns_requests_total{") && series.contains("type=\"other\"");
    let has_come = |tested: &Tested| Page::of(tested).values.keys().any(|series| is_probe(series));
    let until = Instant::now() + PATIENCE;
    while !(has_come(&pair.ours) && has_come(&pair.theirs)) {
        assert!(Instant::now() < until, "a server's loop has not asked it within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes slices of a Service with an address, of a headless one and of none, and waits until both servers answer so.
fn change(ground: &Ground, pair: &Pair, step: usize, annotations: serde_json::Value) {
    let ip = format!("10.43.0.{step}");
    let slice = |service: &str| {
        let mut slice = slice("shop", &format!("{service}-1"), service, &["http:80"], &[endpoint(&ip, json!({}))]);
        slice.value["metadata"]["annotations"] = annotations.clone();
        slice
    };
    let services: Vec<Object> =
        vec![cluster_ip("shop", "timed-ip", &["10.96.1.43"], &["http:80"]), headless("shop", "timed", &["http:80"])];
    ground.put(&services);
    // A watch tells in order: who shows the last has seen the others.
    for service in ["timed-nobody", "timed-ip", "timed"] {
        ground.put(&[slice(service)]);
    }
    let name = "timed.shop.svc.cluster.local";
    let shows = |tested: &Tested| {
        let answer = client::ask_once(tested.port, &Ask::plain(name, Type::A), Duration::from_secs(1));
        let message = answer.and_then(|bytes| Message::read(&bytes).ok()).unwrap_or_default();
        message.answers.iter().any(|record| record.to_string().ends_with(&ip))
    };
    let until = Instant::now() + PATIENCE;
    // Both are asked each time, as both count it.
    while [&pair.ours, &pair.theirs].map(shows).contains(&false) {
        assert!(Instant::now() < until, "{name} isn't {ip} in both after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Rounds of questions, each asked once in its round: the second finds the cache filled.
fn questions(case: &Case, ground: &Ground) -> [Vec<Ask>; 2] {
    let names = Names::new(case, &ground.objects);
    let mut asks = Vec::new();
    for (at, name) in names.right.iter().enumerate() {
        // What has no answer from CoreDNS would be asked twice; aliases make it ask itself.
        if name.contains("ext-") || name.contains('\\') {
            continue;
        }
        for rtype in [Type::A, Type::AAAA, Type::SRV, Type::TXT] {
            let ask = Ask::plain(name, rtype);
            asks.push(if at % 5 == 0 { ask.over_tcp() } else { ask });
        }
    }
    [asks.clone(), asks]
}

fn is_compared(name: &str) -> bool {
    name.starts_with("coredns_") && !APART.iter().any(|(begin, _)| name.starts_with(begin))
}

impl Page {
    /// The page of a server, its own port written as PORT.
    fn of(tested: &Tested) -> Page {
        let text = fetch(&tested.metrics);
        let (port, mut page) = (format!(":{}\"", tested.port), Page::default());
        for line in text.lines() {
            let line = line.replace(&port, ":PORT\"");
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                page.types.insert(name.to_owned(), kind.to_owned());
            } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                page.helps.insert(name.to_owned(), help.to_owned());
            } else if let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
                page.values.insert(series.to_owned(), value.parse().unwrap());
            }
        }
        page
    }

    /// What was counted since `before`; gauges as they are now.
    fn since(&self, before: &Page) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for (series, value) in &self.values {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let is_part = |end: &str| name.ends_with(end);
            // How long things took, and how large answers are before compression, is each server's own.
            let is_own = (name.contains("duration") || name.contains("response_size")) && !is_part("_count");
            if !is_compared(name) || is_own {
                continue;
            }
            let is_gauge = self.types.get(name).is_some_and(|kind| kind == "gauge");
            let counted = if is_gauge { *value } else { value - before.values.get(series).unwrap_or(&0.0) };
            let summed = SUMMED.iter().find(|(summed, _)| *summed == name).map(|(_, label)| without(labels, label));
            let key = summed.map_or(series.clone(), |labels| format!("{name}{{{labels}"));
            *all.entry(key).or_insert(0.0) += counted;
        }
        all
    }
}

/// Labels without one of them.
fn without(labels: &str, label: &str) -> String {
    let all = labels.trim_end_matches('}').split(',');
    let rest: Vec<&str> = all.filter(|one| !one.starts_with(&format!("{label}="))).collect();
    rest.join(",") + "}"
}

fn fetch(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: metrics\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}
