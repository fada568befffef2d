//! A reload that needs more of the cluster than is read: it serves once that is there, or it doesn't and says why.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bowline_dns::wire::{Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use rustix::process::Signal;

use crate::server::{Dns, addresses, ask};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: there, namespace: default}
spec: {containers: [{name: one, image: none.test/none}]}
";
/// The name of a Pod that is there, and one of none.
const THERE: &str = "10-1-2-3.default.pod.cluster.local";
const NOBODY: &str = "10-9-9-9.default.pod.cluster.local";
const FAILED: &str = "coredns_reload_failed_total";

fn corefile(pods: &str) -> String {
    format!(". {{\n    prometheus {{$METRICS}}\n    kubernetes cluster.local {{\n        pods {pods}\n    }}\n}}\n")
}

#[test]
fn pods_are_read_when_a_reload_asks_for_them() {
    let lab = Lab::new("dns-widen").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    // Nobody makes service accounts here, without which no Pod would be admitted.
    let flags = vec!["--disable-admission-plugins=ServiceAccount".to_owned()];
    let mut api = ApiServer::start(&place, &etcd, &ApiServerOptions { flags, ..ApiServerOptions::default() }).unwrap();
    api.apply(POD).unwrap();
    let status = r#"{"status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}]}}"#;
    api.kubectl(&["patch", "pod", "there", "--subresource=status", "--type=merge", "-p", status]).unwrap();
    let state = format!("kubernetes:{}", api.admin().display());
    let mut dns = Dns::start(&place, "widen", &corefile("insecure"), &["--state", &state]);
    dns.wait("any address is a Pod's", |dns| addresses(&dns.ask(NOBODY, Type::A)) == ["10.9.9.9"]);

    // Without the API server the old one goes on, and the reason is told.
    api.kill().unwrap();
    dns.write(&corefile("verified"));
    dns.server.signal(Signal::USR1).unwrap();
    dns.wait("the reload is refused", |dns| dns.metric(FAILED) == 1.0);
    assert_eq!(addresses(&dns.ask(NOBODY, Type::A)), ["10.9.9.9"]);
    // What is logged is written a moment later.
    dns.wait("it is told", |dns| {
        let log = dns.log();
        log.contains("the Corefile was not reloaded") && log.contains("needs more of the cluster than is read")
    });

    // With it, a Pod that is there is answered all the time.
    api.restart().unwrap();
    let (done, count, port) = (AtomicBool::new(false), AtomicUsize::new(0), dns.port);
    thread::scope(|scope| {
        let asker = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let answer = ask(port, THERE, Type::A);
                assert_eq!(addresses(&answer), ["10.1.2.3"], "after {count:?}: {answer:?}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        dns.server.signal(Signal::USR1).unwrap();
        dns.wait("an address of no Pod has no name", |dns| {
            asker.is_finished() || dns.ask(NOBODY, Type::A).rcode() == Rcode::NXDOMAIN
        });
        done.store(true, Ordering::Relaxed);
    });
    assert!(count.load(Ordering::Relaxed) > 0);
    assert_eq!(dns.metric(FAILED), 1.0);

    // What came to be after that is known too: the wider one is followed.
    api.apply(&POD.replace("there", "late")).unwrap();
    let late = status.replace("10.1.2.3", "10.1.2.4");
    api.kubectl(&["patch", "pod", "late", "--subresource=status", "--type=merge", "-p", &late]).unwrap();
    dns.wait("a Pod that came later has a name", |dns| {
        addresses(&dns.ask("10-1-2-4.default.pod.cluster.local", Type::A)) == ["10.1.2.4"]
    });
    // Less needs nothing.
    dns.write(&corefile("insecure"));
    dns.server.signal(Signal::USR1).unwrap();
    dns.wait("any address is a Pod's again", |dns| addresses(&dns.ask(NOBODY, Type::A)) == ["10.9.9.9"]);
    assert_eq!(dns.metric(FAILED), 1.0);
    dns.server.stop().unwrap();
}
