//! The flags that name states.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use super::*;

fn parse(text: &str) -> StateRef {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn two_states_of_one_name_are_refused_and_so_are_flags_that_belong_to_none() {
    let args = |states: &[&str], apiserver: &[&str]| StateArgs {
        states: states.iter().map(|text| parse(text)).collect(),
        kubeconfig: None,
        config_sync_period: Duration::from_secs(900),
        service_cluster_ip_range: Vec::new(),
        apiserver: apiserver.first().map(|url| apiservers(url).unwrap()),
    };
    assert!(args(&["files:a", "files:b"], &[]).states().unwrap_err().to_string().contains("NAME=SOURCE"));
    assert!(args(&["files:a"], &["https://x"]).states().unwrap_err().to_string().contains("--apiserver"));
    assert_eq!(args(&["files:a", "b=files:b"], &[]).states().unwrap().len(), 2);
}

#[test]
fn spans_as_kube_proxy_takes_them() {
    for (text, milliseconds) in [
        ("15m", 900_000),
        ("15m0s", 900_000),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        (".5s", 500),
        ("+2s", 2000),
        ("100ms", 100),
    ] {
        assert_eq!(span(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    assert_eq!(span("2us"), span("2\u{b5}s"));
    for text in ["", "0", "0s", "-5s", "5", "m", "1d", "5s ", "1e3s", "NaNs", "infs", "9999999999h", "1..5s"] {
        assert!(span(text).is_err(), "{text}");
    }
}
