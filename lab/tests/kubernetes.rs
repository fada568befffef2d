//! etcd and the API server alone: they start, answer, stop, come back, and go with their lab.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::process::{Command, Stdio};
use std::time::Duration;

use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use bowline_lab::{Lab, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A question to etcd's JSON gateway, by the client's certificate if there is one.
fn ask(place: &Place, etcd: &Etcd, member: usize, path: &str, body: &str, certified: bool) -> Option<String> {
    let mut curl = place.command("curl");
    curl.args(["-sf", "-m5", "-d", body, &format!("{}{path}", etcd.members()[member].url())]);
    if let Some(authority) = etcd.authority() {
        curl.arg("--cacert").arg(authority.certificate());
    }
    if let Some(own) = etcd.client_certificate().filter(|_| certified) {
        curl.arg("--cert").arg(&own.certificate).arg("--key").arg(&own.key);
    }
    let out = curl.stdin(Stdio::null()).output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

/// The value of `a`, base64: `MQ==`.
fn value(place: &Place, etcd: &Etcd, member: usize) -> Option<String> {
    let answer = ask(place, etcd, member, "/v3/kv/range", r#"{"key":"YQ=="}"#, true)?;
    answer.contains("MQ==").then_some(answer)
}

#[test]
fn etcd_loses_its_leader_and_its_data() {
    let lab = Lab::new("etcd").unwrap();
    let place = Place::machine(&lab).unwrap();
    let mut etcd = Etcd::start(&place, &EtcdOptions { members: 3, tls: true, ..Default::default() }).unwrap();
    let put = |etcd: &Etcd, member, certified| {
        ask(&place, etcd, member, "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#, certified)
    };
    assert_eq!(put(&etcd, 0, false), None, "no certificate, no access");
    put(&etcd, 0, true).unwrap();

    let leader = etcd.leader().unwrap();
    etcd.members_mut()[leader].kill().unwrap();
    let other = (leader + 1) % 3;
    wait_for("another leader", PATIENCE, || etcd.leader().is_ok_and(|l| l != leader)).unwrap();
    wait_for("an answer", PATIENCE, || value(&place, &etcd, other).is_some()).unwrap();
    etcd.members_mut()[leader].start().unwrap();
    assert!(value(&place, &etcd, leader).is_some());

    let mut one = Etcd::start(&Place::machine(&lab).unwrap(), &EtcdOptions::default()).unwrap();
    put(&one, 0, false).unwrap();
    one.members_mut()[0].stop().unwrap();
    one.members_mut()[0].start().unwrap();
    assert!(value(&place, &one, 0).is_some(), "kept over a restart");
    let empty = lab.folder("empty").unwrap();
    one.members_mut()[0].start_with(&empty).unwrap();
    assert_eq!(value(&place, &one, 0), None);

    let pid = one.members()[0].server().pid().unwrap();
    drop((lab, etcd, one));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn an_api_server_on_the_machine_and_in_a_node() {
    let lab = Lab::new("api").unwrap();
    let node = lab.node("worker-1").unwrap();
    for place in [Place::machine(&lab).unwrap(), Place::host(&lab, &node).unwrap()] {
        let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
        let options = ApiServerOptions { rbac: true, ..Default::default() };
        let mut api = ApiServer::start(&place, &etcd, &options).unwrap();
        api.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {b: c}}").unwrap();
        api.kill().unwrap();
        api.restart().unwrap();
        for kubeconfig in [api.admin(), api.admin_by_certificate()] {
            let mut kubectl = api.kubectl_command(&["get", "configmap", "a", "-o", "jsonpath={.data.b}"]).unwrap();
            let out = kubectl.arg("--kubeconfig").arg(kubeconfig).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), "c");
        }
        // Not the administrator: RBAC is on.
        let kubeconfig = api.client_kubeconfig("nobody", "nobody", &[]).unwrap();
        let mut kubectl = api.kubectl_command(&["get", "configmap", "a"]).unwrap();
        let out = kubectl.arg("--kubeconfig").arg(kubeconfig).output().unwrap();
        assert!(String::from_utf8(out.stderr).unwrap().contains("Forbidden"));
        let service = api.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]).unwrap();
        assert_eq!(service, "10.96.0.1");
        // Its token is in no command line.
        let token = std::fs::read_to_string(api.folder().join("tokens.csv")).unwrap();
        let ps = Command::new("ps").args(["axww"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&ps.stdout).contains(token.split(',').next().unwrap()));
    }
}
