//! Both pages of /metrics after the same questions: what CoreDNS counts is counted alike.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bowline_dns::wire::Type;

use crate::ask::Ask;
use crate::case::Case;
use crate::ground::{Ground, PATIENCE};
use crate::names::Names;
use crate::pair::{Pair, Tested};

/// Series that aren't compared, by the beginning of their names, with the reason.
const APART: &[(&str, &str)] = &[
    ("coredns_build_info", "it tells the program's own version"),
    ("coredns_kubernetes_rest_client_", "requests of Go's client of the API"),
    ("coredns_hosts_reload_timestamp_seconds", "a time"),
    ("coredns_health_request_duration_seconds", "the server's own questions, once a second"),
    ("coredns_kubernetes_dns_programming_duration_seconds", "durations"),
];
/// Counted alike only in sum: by this label the servers differ, as docs/dns-differences.md says.
const SUMMED: &[(&str, &str)] = &[("coredns_dns_responses_total", "plugin")];
/// There in both, with other values, as docs/dns-differences.md says.
const OWN_VALUES: &[&str] =
    &["coredns_proxy_conn_cache_hits_total", "coredns_proxy_conn_cache_misses_total", "coredns_cache_entries"];

/// A page: the types of metrics, and the values of series by name and labels.
#[derive(Debug, Default)]
struct Page {
    types: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

/// What is counted otherwise under kubeadm's Corefile; empty if all is well.
pub(crate) fn differences(ground: &Ground) -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dns/corefiles");
    let case = Case { name: "metrics".to_owned(), ..Case::read(&folder.join("kubeadm.Corefile")) };
    let pair = match Pair::start(ground, &case) {
        Ok(pair) => pair,
        Err(error) => return vec![format!("{error:#}")],
    };
    let before = [&pair.ours, &pair.theirs].map(Page::of);
    for round in questions(&case, ground) {
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
    }
    let [ours, theirs] = [0, 1].map(|one: usize| after[one].since(&before[one]));
    for (series, value) in &theirs {
        let has_own_values = OWN_VALUES.iter().any(|name| series.starts_with(name));
        match ours.get(series) {
            None => differences.push(format!("{series}: CoreDNS shows {value}, we don't show it")),
            Some(own) if own != value && !has_own_values => {
                differences.push(format!("{series}: CoreDNS counts {value}, we {own}"));
            }
            Some(_) => {}
        }
    }
    differences
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
