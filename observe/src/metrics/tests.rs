//! The page is what Go's client would print, and no count is lost between threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn the_page_is_in_the_text_format() {
    let registry = Registry::default();
    registry.counter("b_total", "Counts.", &[("zone", "."), ("server", "dns://:53")]).add(3);
    registry.gauge("a_gauge", "Says \"x\".", &[("path", "a\"b\\c\n")]).set(1.5);
    let histogram = registry.histogram("c_seconds", "Takes.", &[0.00025, 1.0], &[]);
    for value in [0.0001, 0.5, 7.0] {
        histogram.observe(value);
    }
    assert_eq!(
        registry.page(),
        "# HELP a_gauge Says \"x\".\n# TYPE a_gauge gauge\na_gauge{path=\"a\\\"b\\\\c\\n\"} 1.5\n\
         # HELP b_total Counts.\n# TYPE b_total counter\nb_total{server=\"dns://:53\",zone=\".\"} 3\n\
         # HELP c_seconds Takes.\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"0.00025\"} 1\n\
         c_seconds_bucket{le=\"1\"} 2\nc_seconds_bucket{le=\"+Inf\"} 3\nc_seconds_sum 7.5001\nc_seconds_count 3\n"
    );
}

#[test]
fn a_series_is_made_once_and_forgotten_when_told() {
    let registry = Registry::default();
    registry.counter("n_total", "", &[("a", "1"), ("b", "2")]).inc();
    registry.counter("n_total", "", &[("b", "2"), ("a", "1")]).inc();
    assert_eq!(registry.counter("n_total", "", &[("a", "1"), ("b", "2")]).get(), 2);
    registry.gauge("g", "", &[("f", "x")]).set(1.0);
    registry.forget("g", &[("f", "x")]);
    assert!(!registry.page().contains("g{"));
}

#[test]
fn threads_lose_no_count() {
    let (counter, histogram) = (Counter::default(), Histogram::new(&[1.0]));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    counter.inc();
                    histogram.observe(0.5);
                }
            });
        }
    });
    assert_eq!((counter.get(), histogram.count(), histogram.sum()), (20_000, 20_000, 10_000.0));
}
