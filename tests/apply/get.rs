//! `bowline get` of a state: tables, selectors, names, and changes as they come.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use bowline_lab::wait_for;
use serde_json::json;

use crate::ground::{Ground, PATIENCE, pod, service, words};

#[test]
fn tables_as_kubectl_has_them() {
    let ground = Ground::new();
    ground.apply(
        &(service("web", "clusterIP: 10.96.0.10, type: NodePort, selector: {app: web}") + &pod("p", "app: web")),
    );
    ground.apply("{apiVersion: v1, kind: Node, metadata: {name: node}, status: {addresses: [{type: InternalIP, address: 192.0.2.7}]}}");
    let port = ground.json("get service web")["spec"]["ports"][0]["nodePort"].to_string();
    let table = words(&ground.bowline("get svc").ok());
    assert_eq!(table[0], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    assert_eq!(table[1][..5], ["web", "NodePort", "10.96.0.10", "<none>", &format!("80:{port}/TCP")]);
    assert_eq!(words(&ground.bowline("get svc -o wide").ok())[1][6], "app=web");
    assert_eq!(words(&ground.bowline("get svc -A").ok())[1][..2], ["default", "web"]);
    let nodes = words(&ground.bowline("get nodes").ok());
    assert_eq!(nodes[0], ["NAME", "STATUS", "LAST-SEEN", "POD-CIDRS", "AGE", "VERSION"]);
    assert_eq!(nodes[1][..4], ["node", "NotReady", "<unknown>", "10.244.0.0/24,fd00:10:244::/64"]);
    assert_eq!(words(&ground.bowline("get no -o wide").ok())[1].last().unwrap(), "192.0.2.7");
    let pods = words(&ground.bowline("get pods").ok());
    assert_eq!(
        (&pods[0][..4], &pods[1][..4]),
        (
            &["NAME", "READY", "STATUS", "RESTARTS"].map(String::from)[..],
            &["p", "0/1", "Running", "0"].map(String::from)[..]
        )
    );
    // Several kinds: each with its head, names with their kind.
    let both = words(&ground.bowline("get svc,pods").ok());
    assert_eq!((&*both[1][0], &*both[4][0]), ("service/web", "pod/p"));
}

#[test]
fn names_selectors_and_what_is_not_there() {
    let ground = Ground::new();
    ground.apply(&(service("a", "") + &service("b", "") + &pod("p", "app: a, tier: front")));
    assert_eq!(ground.bowline("get services a -o name").ok(), "service/a\n");
    assert_eq!(ground.bowline("get svc/b pod/p -o name").ok(), "service/b\npod/p\n");
    assert_eq!(ground.bowline("get svc,pods -l app=a -o name").ok(), "service/a\npod/p\n");
    let selected = ground.command("get svc,pods -o name").args(["-l", "app in (a,b),!tier"]).output().unwrap();
    assert_eq!(String::from_utf8(selected.stdout).unwrap(), "service/a\nservice/b\n");
    let ended = ground.bowline("get svc a none -o name");
    assert_eq!(ended.stdout, "service/a\n");
    assert!(ended.failed().contains("services \"none\" not found"));
    assert_eq!(ground.json("get svc a")["kind"], "Service");
    let list = ground.json("get svc");
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
    assert_eq!(ground.json("get configmaps")["items"], json!([]));
    for (words, said) in [
        ("get widgets", "widgets.example.com"),
        ("get svc a -l app=a", "leave out one of them"),
        ("get svc -l a(b", "brackets"),
        ("get svc,pods -w", "one kind at a time"),
    ] {
        assert!(ground.bowline(words).failed().contains(said), "{words}");
    }
}

#[test]
fn without_a_state_it_is_the_kernel() {
    let ground = Ground::new();
    let root = ground.folder.display().to_string();
    for (words, state) in [
        ("get services", None),
        ("get services --kernel", Some(&*ground.state)),
        ("get backends", Some(&*ground.state)),
        // One that the agent reads, and nobody writes to.
        ("get services", Some("files:/etc/bowline")),
    ] {
        let mut command = ground.command(words);
        command.args(["--bpf-root", &root]).env_remove("BOWLINE_STATE");
        command.envs(state.map(|state| ("BOWLINE_STATE", state)));
        let out = command.output().unwrap();
        assert!(String::from_utf8_lossy(&out.stderr).contains("nothing is installed at"), "{words}: {out:?}");
    }
}

/// Ends its process when dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `get -w`, line by line.
struct Watch {
    child: Ending,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(ground: &Ground, words: &str) -> Watch {
        let mut child = ground.command(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch { child: Ending(child), lines }
    }

    fn next(&mut self) -> Vec<String> {
        self.lines.next().unwrap().unwrap().split_whitespace().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn watch_prints_rows_as_they_change() {
    let ground = Ground::new();
    ground.apply(&(service("a", "clusterIP: 10.96.0.10") + &pod("p", "app: a")));
    let mut watch = Watch::start(&ground, "get services -w");
    assert_eq!(watch.next()[0], "NAME");
    assert_eq!(watch.next()[..3], ["a", "ClusterIP", "10.96.0.10"]);
    ground.apply(&service("b", "clusterIP: 10.96.0.11"));
    assert_eq!(watch.next()[..3], ["b", "ClusterIP", "10.96.0.11"]);
    ground.apply(&service("a", "clusterIP: 10.96.0.10, type: LoadBalancer"));
    assert_eq!(watch.next()[..4], ["a", "LoadBalancer", "10.96.0.10", "<pending>"]);
    ground.bowline("delete service b").ok();
    assert_eq!(watch.next()[0], "b");
    // With a selector and a name, only those.
    let mut named = Watch::start(&ground, "get services a -w -o name");
    assert_eq!(named.next(), ["service/a"]);
    ground.apply(&(service("c", "") + &service("a", "type: LoadBalancer, sessionAffinity: ClientIP")));
    assert_eq!(named.next(), ["service/a"]);
    // Who reads no more ends it, with the next change.
    let Watch { mut child, lines } = Watch::start(&ground, "get services -w -o name");
    drop(lines);
    let mut n = 0;
    wait_for("the watch ends", PATIENCE, || {
        n += 1;
        ground.apply(&service("a", &format!("externalIPs: [192.0.2.{}]", n % 200 + 1)));
        child.0.try_wait().unwrap().is_some()
    })
    .unwrap();
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn a_node_is_ready_while_its_lease_lives() {
    let ground = Ground::new();
    let mut watch = Watch::start(&ground, "get nodes -w");
    let (stop, registration) = (bowline_cluster::source::Stop::default(), registration(&ground));
    std::thread::scope(|scope| {
        scope.spawn(|| registration.run(&stop, |_| {}).unwrap());
        assert_eq!(watch.next()[..2], ["NAME", "STATUS"]);
        let mut row = watch.next();
        while row[1] != "Ready" {
            row = watch.next();
        }
        assert_eq!(row[..4], ["node", "Ready", "now", "10.244.0.0/24,fd00:10:244::/64"]);
        assert_eq!(row[5], "1.2.3");
        stop.stop();
    });
    // Its lease runs out.
    let mut row = watch.next();
    while row[1] == "Ready" {
        row = watch.next();
    }
    assert_eq!((&*row[1], &*row[3]), ("NotReady", "ago"), "{row:?}");
    wait_for("no lease is left", PATIENCE, || words(&ground.bowline("get nodes").ok())[1][1] == "NotReady").unwrap();
}

fn registration(ground: &Ground) -> bowline_sources::store::node::Registration {
    bowline_sources::store::node::Registration {
        location: ground.state.parse().unwrap(),
        name: "node".to_string(),
        labels: Default::default(),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        version: "1.2.3".to_string(),
        settings: Default::default(),
        ttl: std::time::Duration::from_secs(3),
    }
}
