//! An etcd that isn't there, or doesn't answer: nobody waits for ever, and everybody is told for what.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::ground::{Ground, service};

#[test]
fn an_etcd_that_is_away_is_named_and_given_up() {
    let ground = Ground::new();
    ground.write("m.yaml", &service("web", ""));
    // One that refuses, and one that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [refusing, silent.local_addr().unwrap()] {
        let url = format!("http://{endpoint}");
        for words in ["apply -f m.yaml", "delete -f m.yaml", "diff -f m.yaml", "get services"] {
            let began = Instant::now();
            let ended = ground.bowline(&format!("{words} --state etcd:{url} --request-timeout 3"));
            assert!(began.elapsed() < Duration::from_secs(20), "{words}: {:?}", began.elapsed());
            assert!(!ended.status.success() && ended.stdout.is_empty(), "{words}: {ended:?}");
            let told = "waiting for etcd, for up to 3s: ";
            assert!(ended.stderr.contains(told) && ended.stderr.contains(&url), "{words}: {}", ended.stderr);
            assert!(ended.stderr.contains("gave up after 3s: "), "{words}: {}", ended.stderr);
        }
    }
}

#[test]
fn another_endpoint_is_tried() {
    let ground = Ground::new();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let state = format!("etcd:http://{refusing},{}?prefix=/other", ground.etcd_urls().join(","));
    assert_eq!(
        ground.with_input(&format!("apply -f - --state {state}"), &service("web", "")).ok(),
        "service/web created\n"
    );
}

#[test]
fn no_secret_is_taken_on_the_command_line() {
    let ground = Ground::new();
    for words in ["get pods", "apply -f m.yaml", "node"] {
        let state = "etcd:http://me:secret@127.0.0.1:2379";
        let by_flag = ground.bowline(&format!("{words} --state {state}")).failed();
        let by_environment = ground.command(words).env("BOWLINE_STATE", state).output().unwrap();
        for said in [by_flag, String::from_utf8(by_environment.stderr).unwrap()] {
            assert!(!said.contains("secret") && said.contains("BOWLINE_ETCD_PASSWORD"), "{words}: {said}");
        }
    }
}
