//! `autopath`: the path of a file, and that of the client's Pod.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::intern::Strings;
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options as StateOptions, State};
use bowline_sources::parse;

use super::*;
use crate::plugin::Services;
use crate::plugins::testing::{ask, ask_fast, build, question, refused, services, shown};
use crate::server::Instance;

fn pod(name: &str, namespace: &str, status: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"{namespace}"}},"status":{{"podIP":"127.0.0.1"{status}}}}}"#
    )
}

fn publish(services: &Services, pods: &[String]) {
    let mut objects = vec![
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"one"}}"#.to_owned(),
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"two"}}"#.to_owned(),
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"two"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}"#.to_owned(),
    ];
    objects.extend(pods.iter().cloned());
    let manifest = parse::manifest("objects.yaml", objects.join("\n---\n").as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, []);
    let mut state = State::new(StateOptions::default());
    let put = |object| Change::Put(object, Origin::from("objects.yaml"));
    state.apply(Update::All(manifest.objects.into_iter().map(put).collect()));
    services.feed.come(&Told::whole(&state.snapshot()));
}

const CLUSTER: &str = ". {\nautopath @kubernetes\nkubernetes cluster.local {\npods verified\n}\n\
    hosts {\n192.0.2.1 example.com\nfallthrough\n}\n}\n";

fn cluster(pods: &[String]) -> (Instance, Arc<Services>) {
    let services = services();
    let instance = build(CLUSTER, Path::new("/"), &services).unwrap();
    publish(&services, pods);
    (instance, services)
}

#[test]
fn a_pod_finds_along_its_path() {
    let (instance, services) = cluster(&[pod("client", "one", "")]);
    let asked = question("Web.two.one.svc.cluster.local.", Type::A);
    assert!(ask_fast(&instance, &asked).is_none());
    let answer = ask(&instance, &asked);
    assert_eq!(
        shown(&answer),
        ["Web.two.one.svc.cluster.local. CNAME Web.two.svc.cluster.local.", "Web.two.svc.cluster.local. A 10.96.0.1",]
    );
    assert!(answer.questions[0].name.eq_exact(&asked.questions[0].name));
    let answer = ask(&instance, &question("example.com.one.svc.cluster.local.", Type::A));
    assert_eq!(shown(&answer)[0], "example.com.one.svc.cluster.local. CNAME example.com.");
    assert!(services.metrics.page().contains("coredns_autopath_success_total{server=\"dns://127.0.0.1:53\""));
    // What does not begin the path, and names that nobody has.
    assert_eq!(ask(&instance, &question("web.two.two.svc.cluster.local.", Type::A)).rcode(), Rcode::NXDOMAIN);
    assert!(ask_fast(&instance, &question("web.two.svc.cluster.local.", Type::A)).is_some());
}

#[test]
fn only_a_pod_that_runs_and_has_the_address_alone_tells_a_namespace() {
    let gone = pod("gone", "two", r#","phase":"Succeeded""#);
    let asked = question("web.two.one.svc.cluster.local.", Type::A);
    let (instance, _services) = cluster(&[gone, pod("client", "one", "")]);
    assert_eq!(ask(&instance, &asked).rcode(), Rcode::NOERROR);
    let (instance, _services) = cluster(&[pod("a", "one", ""), pod("b", "one", "")]);
    assert_eq!(ask(&instance, &asked).rcode(), Rcode::NOERROR);
    for pods in [vec![], vec![pod("a", "one", ""), pod("b", "two", "")]] {
        let (instance, _services) = cluster(&pods);
        assert_eq!(ask(&instance, &asked).rcode(), Rcode::NXDOMAIN);
    }
}

#[test]
fn the_path_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("my-resolv.conf"), "search Corp.example lab.example\n").unwrap();
    let text = ". {\nautopath corp.example my-resolv.conf\nhosts {\n10.0.0.1 db.lab.example\n10.0.0.2 own.corp.example\n}\n}\n";
    let instance = build(text, folder.path(), &services()).unwrap();
    assert_eq!(shown(&ask(&instance, &question("own.corp.example.", Type::A))), ["own.corp.example. A 10.0.0.2"]);
    let answer = ask(&instance, &question("nope.corp.example.", Type::A));
    assert_eq!(answer.rcode(), Rcode::SERVFAIL, "hosts without fallthrough");
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("autopath", "takes at least 1 argument"),
        ("autopath @erratic", "erratic knows no search paths"),
        ("autopath missing.conf", "missing.conf: "),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
