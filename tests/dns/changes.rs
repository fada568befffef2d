//! The same while objects change.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline_dns::wire::{Message, Rcode, Type};
use serde_json::json;

use crate::answers;
use crate::ask::Ask;
use crate::case::Case;
use crate::client;
use crate::ground::{Ground, PATIENCE};
use crate::objects::{Object, cluster_ip, endpoint, external_name, headless, pod, slice};
use crate::pair::{Pair, Tested};
use crate::report;

const COREFILE: &str = "
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods verified
        namespace_labels team notin (gone)
    }
}
";

/// What is done in one step.
enum Change {
    Put(Vec<Object>),
    Delete(&'static str, &'static str, &'static str),
}

fn changes() -> Vec<Change> {
    let http = ["http:8080"];
    let ip = |address: &str| endpoint(address, json!({}));
    let namespace = |name: &str, team: &str| {
        let mut object = Object::new("v1", "Namespace", "", name).label("team", team);
        if let Some(metadata) = object.value["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        object
    };
    let unready = |address: &str| endpoint(address, json!({"conditions": {"ready": false}}));
    vec![
        Change::Put(vec![
            headless("shop", "new", &["http:80"]),
            slice("shop", "new-1", "new", &http, &[ip("10.40.0.1"), ip("10.40.0.2")]),
        ]),
        // Another hostname, another port, one endpoint less; an endpoint no longer ready.
        Change::Put(vec![
            slice("shop", "new-1", "new", &["http:9090"], &[endpoint("10.40.0.1", json!({"hostname": "first"}))]),
            slice("shop", "headless-1", "headless", &["http:8080"], &[unready("10.10.3.1"), ip("10.10.3.2")]),
        ]),
        // A slice of another Service, and Services of another kind.
        Change::Put(vec![
            slice("prod", "lost-1", "web", &http, &[ip("10.11.9.1")]),
            cluster_ip("shop", "web", &["10.96.1.1"], &["http:8081", "admin:9000"]),
            external_name("shop", "ext", "other.example.org"),
        ]),
        Change::Put(vec![
            pod("shop", "web-a", "Running", &["10.10.0.50"]),
            pod("web", "late", "Running", &["10.12.0.77"]),
        ]),
        Change::Put(vec![namespace("web", "gone")]),
        Change::Delete("service", "shop", "dual"),
        Change::Delete("endpointslice", "shop", "new-1"),
        Change::Delete("pod", "prod", "reused"),
        Change::Put(vec![cluster_ip("prod", "dual", &["10.96.1.2", "fd96::12"], &["http:80"])]),
        Change::Put(vec![namespace("web", "back")]),
        Change::Delete("service", "shop", "new"),
    ]
}

/// After every change, and when both have seen it, both answer alike; what differs, as people read it.
pub(crate) fn differences(ground: &Ground, seed: u64) -> Vec<String> {
    let zones = vec!["cluster.local".to_owned()];
    let probe = ("kubernetes.default.svc.cluster.local".to_owned(), "A".to_owned());
    let case = Case { name: "changes".into(), text: COREFILE.into(), zones, probe, questions: 1200, ..Case::default() };
    let pair = match Pair::start(ground, &case) {
        Ok(pair) => pair,
        Err(error) => return vec![format!("{error:#}")],
    };
    let mut objects = ground.objects.clone();
    let mut all = Vec::new();
    for (step, change) in changes().into_iter().enumerate() {
        match change {
            Change::Put(changed) => {
                ground.put(&changed);
                objects.extend(changed);
            }
            Change::Delete(kind, namespace, name) => ground.delete(kind, namespace, name),
        }
        mark(ground, step);
        if let Err(why) = wait_until_both_show(&pair, step) {
            all.push(why);
            break;
        }
        let (asked, differences) = answers::compare_all(&pair, &case, &objects, seed + step as u64);
        println!("change {step:2}: {asked} questions, {} differences", differences.len());
        if !differences.is_empty() {
            all.push(format!("after change {step}:\n{}", report::show(&case.text, &differences)));
        }
    }
    pair.stop();
    all
}

/// Writes an object of each kind, after all the others: a watch tells in order, so who shows these has seen the rest.
fn mark(ground: &Ground, step: usize) {
    let step = step + 1;
    ground.put(&[
        external_name("shop", "marker", &format!("step-{step}.example.org")),
        headless("shop", "marked", &["http:80"]),
        slice("shop", "marked-1", "marked", &["http:80"], &[endpoint(&format!("10.41.0.{step}"), json!({}))]),
        pod("shop", &format!("marker-{step}"), "Running", &[&format!("10.42.0.{step}")]),
    ]);
}

fn wait_until_both_show(pair: &Pair, step: usize) -> Result<(), String> {
    let step = step + 1;
    let missing = |tested: &Tested| {
        let has = |name: &str, rtype, text: &str| {
            let answer = client::ask_once(tested.port, &Ask::plain(name, rtype), Duration::from_secs(1));
            let message = answer.and_then(|bytes| Message::read(&bytes).ok()).unwrap_or_default();
            message.answers.iter().any(|record| record.to_string().ends_with(text))
        };
        // Nothing marks namespaces, but what their labels do shows by itself.
        let is_web_there = |is_there: bool| has("shop.web.svc.cluster.local", Type::A, "") == is_there;
        let all = [
            ("Services", has("marker.shop.svc.cluster.local", Type::CNAME, &format!("\tstep-{step}.example.org."))),
            ("EndpointSlices", has("marked.shop.svc.cluster.local", Type::A, &format!("\t10.41.0.{step}"))),
            ("Pods", has(&format!("10-42-0-{step}.shop.pod.cluster.local"), Type::A, &format!("\t10.42.0.{step}"))),
            ("namespaces", (step != 5 || is_web_there(false)) && (step != 10 || is_web_there(true))),
        ];
        all.iter().find(|(_, is_there)| !is_there).map(|(what, _)| *what)
    };
    let mut last = [None; 2];
    let seen = bowline_lab::wait_for("both show the change", PATIENCE, || {
        last = [&pair.ours, &pair.theirs].map(missing);
        last == [None; 2]
    });
    seen.map_err(|_| format!("change {step} isn't seen: ours misses {:?}, CoreDNS {:?}", last[0], last[1]))
}

/// In a run of changes every answer of ours was true at some time, and none is older than one before it.
pub(crate) fn lies(ground: &Ground) -> Vec<String> {
    const STEPS: usize = 30;
    let name = "run.shop.svc.cluster.local";
    let text = COREFILE.replace("pods verified", "pods insecure");
    let probe = ("kubernetes.default.svc.cluster.local".to_owned(), "A".to_owned());
    let case = Case { name: "run-of-changes".into(), text, probe, ..Case::default() };
    // Each state has other addresses; some have none, and in some the Service is gone.
    let addresses = |step: usize| -> BTreeSet<String> {
        let count = if step % 7 == 3 { 0 } else { 1 + step % 4 };
        (0..count).map(|n| format!("10.50.{step}.{n}")).collect()
    };
    let put = |step: usize| {
        let endpoints: Vec<_> = addresses(step).iter().map(|ip| endpoint(ip, json!({}))).collect();
        ground.put(&[slice("shop", "run-1", "run", &["http:80"], &endpoints)]);
    };
    ground.put(&[headless("shop", "run", &["http:80"])]);
    put(0);
    let pair = match Pair::start(ground, &case) {
        Ok(pair) => pair,
        Err(error) => return vec![format!("{error:#}")],
    };
    // What the API server has, at least and at most: a change is true from some time in its request on.
    let (begun, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let asks = [Type::A, Type::SRV].map(|rtype| Ask::plain(name, rtype));
    let lies = thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut lies, mut newest, mut asked) = (Vec::new(), [0; 2], 0);
            let mut last = Instant::now();
            while !done.load(Ordering::Relaxed) || last.elapsed() < Duration::from_millis(300) {
                if !done.load(Ordering::Relaxed) {
                    last = Instant::now();
                }
                for (at, answer) in client::ask(pair.ours.port, &asks, client::LATE).into_iter().enumerate() {
                    asked += 1;
                    let message = Message::read(&answer.unwrap_or_default()).unwrap_or_default();
                    let records = if at == 0 { &message.answers } else { &message.additionals };
                    let ips = records.iter().filter_map(|record| Some(record.data.to_ip(record.rtype)?.to_string()));
                    let ips: BTreeSet<String> = ips.collect();
                    let latest = begun.load(Ordering::SeqCst);
                    let is_true = |step: &usize| {
                        addresses(*step) == ips && (message.rcode() == Rcode::NXDOMAIN) == ips.is_empty()
                    };
                    match (newest[at]..=latest).find(is_true) {
                        Some(step) => newest[at] = step,
                        None => {
                            lies.push(format!("between {} and {latest}: {:?} {ips:?}", newest[at], message.rcode()));
                        }
                    }
                }
            }
            (lies, newest, asked)
        });
        for step in 1..=STEPS {
            begun.store(step, Ordering::SeqCst);
            put(step);
        }
        done.store(true, Ordering::Relaxed);
        let (mut lies, newest, asked) = asker.join().unwrap();
        println!("run of {STEPS} changes: {asked} questions, {} lies", lies.len());
        if newest != [STEPS; 2] {
            lies.push(format!("the last change, {STEPS}, wasn't seen: {newest:?}"));
        }
        lies.truncate(20);
        lies
    });
    pair.stop();
    lies
}
