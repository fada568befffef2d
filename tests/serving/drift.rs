//! `bowline dns` behind a proxy that loses changes: what it answers is what the API server has, within
//! `--config-sync-period`.

use bowline_dns::wire::{Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};

use crate::crooked::{Act, Crooked};
use crate::server::{Dns, addresses};

const GOES: &str = "goes.default.svc.cluster.local";
const DRIFT: &str = "bowline_dns_state_drift_total{kind=\"services\"}";

#[test]
fn what_its_watch_has_lost_is_answered_within_the_period_counted_and_said() {
    let lab = Lab::new("dns-drift").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: goes, namespace: default}\nspec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}\n";
    api.apply(service).unwrap();
    let crooked = Crooked::new(&api, losing);
    let state = format!("kubernetes:{}", crooked.access().kubeconfig.unwrap().display());
    let corefile = ". {\n    prometheus {$METRICS}\n    kubernetes cluster.local\n}\n";
    let mut dns =
        Dns::start(&place, "dns", corefile, &["--state", &state, "--config-sync-period", "1s", "--state-dir", ""]);
    dns.wait("it knows the cluster", |dns| addresses(&dns.ask(GOES, Type::A)) == ["10.96.7.7"]);
    api.kubectl(&["delete", "service", "goes", "--wait=false"]).unwrap();
    dns.wait("it is gone", |dns| dns.ask(GOES, Type::A).rcode() == Rcode::NXDOMAIN);
    assert_eq!(dns.metric(DRIFT), 1.0);
    let log = dns.log();
    let told = log.lines().find(|line| line.contains("what is known is not what the server has")).unwrap_or(&log);
    assert!(told.contains("services") && told.contains("default/goes"), "{told}");
    dns.server.stop().unwrap();
}

/// Watches lose what happens to `goes`.
fn losing(path: &str) -> Act {
    match path {
        // In pages: a watch of its own follows.
        path if path.contains("sendInitialEvents") => Act::Refuse(400, String::new()),
        path if path.contains("watch=true") => Act::Only(|line| !line.contains("\"name\":\"goes\"")),
        _ => Act::Pass,
    }
}
