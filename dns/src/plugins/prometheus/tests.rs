//! `prometheus`: both ways count the same series, the page has them, and a reload takes away what is no more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::plugin::Services;
use crate::plugins::testing::{ask, ask_by, ask_fast, build, dnssec_question, question, refused, server, services};
use crate::server::Instance;
use crate::wire::{Message, Type};

const COREFILE: &str = "example.org sub.example.org {\n prometheus\n errors\n hosts {\n 10.0.0.1 a.example.org b.sub.example.org\n fallthrough\n }\n}\n";

fn instance() -> (Instance, Arc<Services>) {
    let services = services();
    (build(COREFILE, Path::new(""), &services).unwrap(), services)
}

fn page(instance: &Instance) -> String {
    let (_, routes) = instance.routes().first_key_value().unwrap();
    let page = routes.get("/metrics").unwrap()(instance.blocks());
    assert_eq!((page.status, page.kind), (200, CONTENT_TYPE));
    page.body
}

fn assert_has(page: &str, line: &str) {
    assert!(page.lines().any(|found| found == line), "{line}\n\nis not in\n\n{page}");
}

#[test]
fn questions_and_answers_are_counted_by_zone_protocol_and_plugin() {
    let (instance, _) = instance();
    ask(&instance, &question("A.Example.ORG.", Type::A));
    ask(&instance, &dnssec_question("b.sub.example.org.", Type::AAAA));
    ask_by(&instance, &question("a.example.org.", Type(65280)), Transport::Tcp);
    ask(&instance, &question("none.example.org.", Type::HTTPS));
    let page = page(&instance);
    let server = "server=\"dns://127.0.0.1:53\"";
    for line in [
        format!(
            "coredns_dns_requests_total{{family=\"1\",proto=\"udp\",{server},type=\"A\",view=\"\",zone=\"example.org.\"}} 1"
        ),
        format!(
            "coredns_dns_requests_total{{family=\"1\",proto=\"udp\",{server},type=\"HTTPS\",view=\"\",zone=\"example.org.\"}} 1"
        ),
        format!(
            "coredns_dns_requests_total{{family=\"1\",proto=\"tcp\",{server},type=\"other\",view=\"\",zone=\"example.org.\"}} 1"
        ),
        format!(
            "coredns_dns_requests_total{{family=\"1\",proto=\"udp\",{server},type=\"AAAA\",view=\"\",zone=\"sub.example.org.\"}} 1"
        ),
        format!("coredns_dns_do_requests_total{{{server},view=\"\",zone=\"sub.example.org.\"}} 1"),
        format!(
            "coredns_dns_responses_total{{plugin=\"hosts\",rcode=\"NOERROR\",{server},view=\"\",zone=\"example.org.\"}} 2"
        ),
        format!(
            "coredns_dns_responses_total{{plugin=\"\",rcode=\"SERVFAIL\",{server},view=\"\",zone=\"example.org.\"}} 1"
        ),
        format!("coredns_dns_request_duration_seconds_count{{{server},view=\"\",zone=\"example.org.\"}} 3"),
        format!("coredns_dns_request_size_bytes_sum{{proto=\"tcp\",{server},view=\"\",zone=\"example.org.\"}} 31"),
        format!("coredns_dns_response_size_bytes_count{{proto=\"udp\",{server},view=\"\",zone=\"example.org.\"}} 2"),
        "coredns_build_info{goversion=\"\",revision=\"\",version=\"test\"} 1".to_owned(),
        "coredns_panics_total 0".to_owned(),
    ] {
        assert_has(&page, &line);
    }
    // Nothing is there that was never counted.
    assert!(!page.contains("type=\"MX\""));
}

#[test]
fn the_fast_way_counts_what_the_long_way_counts() {
    let shown = |fast: bool| {
        let (instance, _) = instance();
        let asked = question("a.example.org.", Type::A);
        if fast {
            let mut raw = Vec::new();
            asked.write(&mut raw);
            let (mut plain, mut out, mut random) = (crate::fast::Plain::default(), [0; 512], fastrand::Rng::new());
            assert!(plain.read(&raw));
            let server = server(&instance);
            let client = "127.0.0.1:4000".parse().unwrap();
            let mut fast = Fast::new(&plain, &raw, client, client, &mut out, &mut random);
            assert_eq!(server.fast(&mut fast), Step::Answered);
            let (rcode, by) = (fast.rcode, fast.by);
            fast.meter.unwrap().answered(&Answered {
                rtype: Type::A,
                is_ipv6: false,
                transport: Transport::Udp,
                dnssec_ok: false,
                request_bytes: raw.len(),
                response_bytes: fast.written(),
                rcode,
                by,
                seconds: 0.0,
            });
        } else {
            ask(&instance, &asked);
        }
        let lines = page(&instance);
        let is_counted = |line: &&str| line.starts_with("coredns_dns_") && !line.contains("_seconds");
        lines.lines().filter(is_counted).map(str::to_owned).collect::<Vec<_>>()
    };
    let (fast, long) = (shown(true), shown(false));
    assert!(fast.len() > 30, "{fast:?}");
    assert_eq!(fast, long);
    let (instance, _) = instance();
    assert!(ask_fast(&instance, &question("a.example.org.", Type::A)).is_some());
}

#[test]
fn questions_that_no_block_takes_are_counted_as_dropped() {
    let (instance, _) = instance();
    ask(&instance, &question("example.com.", Type::A));
    let mut chaos = question("a.example.org.", Type::TXT);
    chaos.questions[0].class = crate::wire::Class(3);
    ask(&instance, &chaos);
    let server = "server=\"dns://127.0.0.1:53\"";
    let line =
        format!("coredns_dns_responses_total{{plugin=\"\",rcode=\"REFUSED\",{server},view=\"\",zone=\"dropped\"}} 2");
    assert_has(&page(&instance), &line);
}

#[test]
fn plugins_are_shown_as_long_as_an_instance_has_them() {
    let services = services();
    let enabled = |text: &str| {
        let instance = build(text, Path::new(""), &services).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            instance.start();
            tokio::task::yield_now().await;
        });
        instance
    };
    let line = |name: &str, zone: &str| {
        format!("coredns_plugin_enabled{{name=\"{name}\",server=\"dns://127.0.0.1:53\",view=\"\",zone=\"{zone}\"}} 1")
    };
    let first = enabled("example.org. {\n prometheus\n whoami\n}\n");
    let second = enabled("example.org. example.net {\n prometheus\n errors\n}\n");
    for (name, zone) in [("whoami", "example.org."), ("prometheus", "example.org."), ("errors", "example.net.")] {
        assert_has(&services.metrics.page(), &line(name, zone));
    }
    drop(first);
    assert_has(&services.metrics.page(), &line("prometheus", "example.org."));
    assert!(!services.metrics.page().contains("whoami"));
    drop(second);
    assert!(!services.metrics.page().contains("plugin_enabled"));
}

#[test]
fn the_process_is_on_the_page() {
    let page = process::page();
    let value = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {page}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes ") > 1e5);
    assert!(value("process_virtual_memory_bytes ") >= value("process_resident_memory_bytes "));
    assert!(value("process_open_fds ") >= 3.0 && value("process_open_fds ") <= value("process_max_fds "));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("process_start_time_seconds ")).abs() < 24.0 * 3600.0);
    for name in
        ["process_cpu_seconds_total ", "process_network_receive_bytes_total ", "process_virtual_memory_max_bytes "]
    {
        assert!(value(name) >= 0.0);
    }
}

#[test]
fn what_an_answer_takes_is_what_is_written() {
    let (instance, _) = instance();
    let asked = dnssec_question("a.example.org.", Type::A);
    let answer = ask(&instance, &asked);
    let mut bytes = Vec::new();
    Message { ..answer }.write(&mut bytes);
    let server = "server=\"dns://127.0.0.1:53\"";
    let line = format!(
        "coredns_dns_response_size_bytes_sum{{proto=\"udp\",{server},view=\"\",zone=\"example.org.\"}} {}",
        bytes.len()
    );
    assert_has(&page(&instance), &line);
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("prometheus", "accepted"),
        ("prometheus localhost:53", "accepted"),
        ("prometheus {\n}", "accepted"),
        ("prometheus 127.0.0.1:9153 again", "takes 0 to 1 arguments"),
        ("prometheus nowhere", "Corefile:2: prometheus: \"nowhere\" is no address"),
        ("prometheus {\n runtime_metrics\n}", "Corefile:3: runtime_metrics: is for Go's runtime"),
        ("prometheus {\n foo\n}", "Corefile:3: foo: is no option"),
        ("prometheus\n prometheus", "Corefile:3: prometheus: is in this server block already, in line 2"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}
