#![allow(clippy::unwrap_used)] // a test ends by panicking

use super::*;

const PAGE: &str = r#"
# TYPE kubeproxy_network_programming_duration_seconds histogram
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="0.25"} 2
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="1"} 3
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="+Inf"} 4
kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"} 6.5
kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 4
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv6",le="0.25"} 0
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv6",le="1"} 0
kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv6",le="+Inf"} 0
kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv6"} 0
kubeproxy_network_programming_duration_seconds_other 9
"#;

#[test]
fn label_sets_add_up() {
    let histogram = Histogram::parse(PAGE, LATENCY).unwrap();
    assert_eq!(histogram.buckets, [(0.25, 2.0), (1.0, 3.0), (f64::INFINITY, 4.0)]);
    assert_eq!((histogram.count(), histogram.mean()), (4.0, Some(1.625)));
    assert_eq!(histogram.bound(0.5), Some(0.25));
    assert_eq!(histogram.bound(0.75), Some(1.0));
    assert_eq!(histogram.bound(0.99), Some(f64::INFINITY));
    assert_eq!(Histogram::parse(PAGE, "another").unwrap().count(), 0.0);
}

#[test]
fn what_was_there_before_does_not_count() {
    let before = Histogram::parse(PAGE, LATENCY).unwrap();
    let page = PAGE.replace("le=\"1\"} 3", "le=\"1\"} 8").replace("Inf\"} 4", "Inf\"} 9").replace("} 6.5", "} 9.0");
    let since = Histogram::parse(&page, LATENCY).unwrap().since(&before);
    assert_eq!((since.count(), since.mean(), since.bound(0.99)), (5.0, Some(0.5), Some(1.0)));
    let none = before.since(&before);
    assert_eq!((none.mean(), none.bound(0.5)), (None, None));
}
