//! The life of the agent: started, killed, started again, beside others; what it says of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowline_lab::wait_for;
use common::manifest::{service, simple};
use common::{Agent, Client, Ground, PATIENCE, at, attached, bowline_in, server, server6, tcp, tcp1, udp1};

/// Services of every sort: `t` by TCP in turn, `u` by UDP, `a` with affinity, `six` by IPv6.
fn several(ground: &Ground) {
    let all = [1, 2, 3];
    let text = simple("t", at("10.96.1.1", 80)).to(all.map(server)).yaml()
        + &simple("u", at("10.96.1.1", 53)).udp().to(all.map(server)).yaml()
        + &simple("a", at("10.96.1.2", 80)).spec("sessionAffinity: ClientIP").to(all.map(server)).yaml()
        + &simple("six", at("fd00:10:96::1", 80)).to(all.map(server6)).yaml();
    ground.agent.apply("several.yaml", &text, "four Services have three backends each", |ports| {
        ["t", "u", "a", "six"].iter().all(|name| ports.is_there(name) && ports.backends(name).len() == 3)
    });
}

/// Ends the agent twice with connections open, and starts it again.
fn outlives_the_agent(tag: &str, end: impl Fn(&mut Agent)) {
    let mut ground = Ground::new(tag, 3);
    several(&ground);
    let other = ground.node.pod("other").unwrap();
    let targets = "connect --target 10.96.1.1:80 --target 10.96.1.2:80 --target [fd00:10:96::1]:80";
    let (mut held, first) = Client::start(&ground.client, targets);
    let (mut socket, answer) = Client::start(&ground.client, "udp --target 10.96.1.1:53");
    let mine = [tcp1(&ground.client, at("10.96.1.2", 80)), tcp1(&other, at("10.96.1.2", 80))];
    assert_ne!(mine[0], mine[1]);
    let (folder, links) = (ground.agent.maps(), attached(&ground.node));
    assert_eq!(links.len(), 9, "{links:?}");
    let mut turns = tcp(&ground.client, at("10.96.1.1", 80), 4);
    let mut works = |agent: &Agent| {
        assert_eq!(held.again(), first);
        assert_eq!(socket.again(), answer);
        assert_eq!([tcp1(&ground.client, at("10.96.1.2", 80)), tcp1(&other, at("10.96.1.2", 80))], mine);
        assert!(tcp1(&other, at("fd00:10:96::1", 80)).starts_with("s-"));
        assert!(udp1(&other, at("10.96.1.1", 53)).starts_with("s-"));
        turns.extend(tcp(&ground.client, at("10.96.1.1", 80), 4));
        agent.get()
    };
    for _ in 0..2 {
        end(&mut ground.agent);
        let before = works(&ground.agent);
        ground.agent.start();
        // Nothing was to be done and nothing was: ids, lives, generations and turns are the same.
        assert_eq!(ground.agent.get(), before);
        assert_eq!(ground.agent.maps(), folder);
        assert_eq!(attached(&ground.node).len(), 9);
        works(&ground.agent);
        assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
    }
    assert!((3..turns.len()).all(|i| turns[i] == turns[i - 3]), "round robin goes on where it was: {turns:?}");
}

#[test]
fn connections_go_on_over_a_restart_and_new_ones_work_while_no_agent_runs() {
    outlives_the_agent("restart", Agent::stop);
}

#[test]
fn connections_go_on_over_kill_9_and_new_ones_work_while_no_agent_runs() {
    outlives_the_agent("kill", Agent::kill);
}

#[test]
fn what_changed_meanwhile_is_applied_at_start_without_disturbing_the_rest() {
    let mut ground = Ground::new("meanwhile", 4);
    several(&ground);
    let goes = simple("goes", at("10.96.1.3", 80)).to([server(1)]).yaml();
    ground.agent.serve("goes.yaml", &goes, "goes", 1);
    ground.agent.serve(
        "grows.yaml",
        &simple("grows", at("10.96.1.4", 80)).to([server(1), server(2)]).yaml(),
        "grows",
        2,
    );
    let kept = tcp1(&ground.client, at("10.96.1.2", 80));
    let (mut held, first) = Client::start(&ground.client, "connect --target 10.96.1.3:80 --target 10.96.1.4:80");
    let before = ground.agent.get();
    ground.agent.kill();

    ground.agent.remove("goes.yaml");
    ground.agent.put("grows.yaml", &simple("grows", at("10.96.1.4", 81)).to([server(2), server(3), server(4)]).yaml());
    ground.agent.put("new.yaml", &simple("new", at("10.96.1.5", 80)).to([server(4)]).yaml());
    assert_eq!(ground.agent.get(), before);
    ground.agent.start();

    // Ready means that all of it is in the kernel.
    let after = ground.agent.get();
    for name in ["t", "u", "a", "six"] {
        assert_eq!(after.one(name), before.one(name), "{name} was not touched");
    }
    assert!(after.one("goes").is_none());
    assert_eq!(after.frontends("grows"), [at("10.96.1.4", 81)]);
    assert_eq!(after.backends("grows"), [server(2), server(3), server(4)]);
    let of = |ports: &common::Ports, n: u16| {
        ports.one("grows").unwrap().backends.iter().find(|b| b.port == 8000 + n).map(|b| (b.id, b.life))
    };
    assert_eq!(of(&after, 2), of(&before, 2), "who stays keeps its id and its life");
    assert_eq!(tcp1(&ground.client, at("10.96.1.5", 80)), "s-4");
    assert_eq!(tcp1(&ground.client, at("10.96.1.2", 80)), kept);
    for gone in [at("10.96.1.3", 80), at("10.96.1.4", 80)] {
        assert!(!tcp1(&ground.client, gone).starts_with("s-"), "{gone}");
    }
    // Connections outlive their Service.
    assert_eq!(
        held.again().iter().map(common::Seen::who).collect::<Vec<_>>(),
        first.iter().map(common::Seen::who).collect::<Vec<_>>()
    );
    // Nothing is left of what went: 4 + grows + new.
    ground.agent.barrier();
    for (map, entries) in [("services", 7.0), ("frontends", 7.0), ("backends", 16.0)] {
        ground.agent.wait_for_metric(&format!("bowline_map_entries{{map=\"{map}\"}}"), entries);
    }
}

#[test]
fn a_second_agent_on_the_same_root_is_refused_with_the_first_ones_pid() {
    let mut ground = Ground::new("second", 1);
    let pid = format!("pid {}", ground.agent.pid());
    let state = format!("files:{}", ground.agent.folder.display());
    let elsewhere = ground.node.bpf_root().with_file_name("elsewhere");
    let cgroup = ground.client.cgroup().to_owned();
    for (cgroup, pins) in [
        (ground.node.cgroup(), ground.node.bpf_root()),
        (ground.node.cgroup(), elsewhere.as_path()),
        (cgroup.as_path(), ground.node.bpf_root()),
    ] {
        let (cgroup, pins) = (cgroup.to_str().unwrap(), pins.to_str().unwrap());
        let said = common::bowline(&["node", "--state", &state, "--cgroup-root", cgroup, "--bpf-root", pins]).failed();
        assert!(said.contains("another agent works here") && said.contains(&pid), "{cgroup} {pins}: {said}");
    }
    // The first one didn't notice; the next one may come when it is gone.
    ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
    ground.agent.kill();
    ground.agent.start();
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
}

#[test]
fn several_agents_on_one_machine_do_not_disturb_each_other() {
    let mut ground = Ground::new("agents", 2);
    let node = Arc::new(ground.lab.node("other").unwrap());
    let client = node.pod("client").unwrap();
    let mut other = Agent::new(&ground.lab, &node);
    other.start();
    // One address on both nodes, and on each another server.
    let vip = at("10.96.1.1", 80);
    ground.agent.serve("web.yaml", &simple("web", vip).to([server(1)]).yaml(), "web", 1);
    other.serve("web.yaml", &simple("web", vip).to([server(2)]).yaml(), "web", 1);
    assert_eq!([tcp1(&ground.client, vip), tcp1(&client, vip)], ["s-1", "s-2"]);
    // Without a clusterIP they agree on one without talking.
    let free = service("free", "ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]");
    ground.agent.serve("free.yaml", &free, "free", 0);
    other.serve("free.yaml", &(service("first", "ports: [{port: 80}]") + &free), "free", 0);
    assert_eq!(ground.agent.get().frontends("free"), other.get().frontends("free"));
    // What happens to one doesn't happen to the other.
    let before = other.get();
    ground.agent.remove("web.yaml");
    ground.agent.wait("web is gone", |agent| agent.get().one("web").is_none());
    ground.agent.stop();
    bowline_in(&ground.node, &["cleanup"]).ok();
    assert_eq!((attached(&ground.node).len(), attached(&node).len()), (0, 9));
    assert_eq!(other.get(), before);
    assert_eq!(tcp1(&client, vip), "s-2");
    other.serve("web.yaml", &simple("web", vip).to([server(1), server(2)]).yaml(), "web", 2);
    // And one that starts again doesn't either.
    ground.agent.start();
    assert_eq!(other.get().backends("web").len(), 2);
    assert!(tcp1(&client, vip).starts_with("s-"));
}

#[test]
fn readyz_tells_that_the_first_whole_read_is_in_the_kernel() {
    let mut ground = Ground::without_agent("readyz", 1);
    let vip = at("10.96.1.1", 80);
    fs::remove_dir(&ground.agent.folder).unwrap();
    ground.agent.spawn();
    ground.agent.wait("it lives", |agent| agent.healthz().is_ok_and(|page| page == "ok\n"));
    let reason = ground.agent.readyz().unwrap_err().to_string();
    assert!(reason.contains("503") && reason.contains("can't be read"), "{reason}");
    assert_eq!(ground.agent.metric("bowline_ready"), Some(0.0));
    assert_eq!(ground.agent.metric("bowline_source_up{cluster=\"local\"}"), Some(0.0));
    // The folder comes, whole: what is in it is served when it says so.
    let made = ground.agent.folder.with_file_name("made");
    fs::create_dir(&made).unwrap();
    common::put(&made.join("web.yaml"), &simple("web", vip).to([server(1)]).yaml());
    fs::rename(&made, &ground.agent.folder).unwrap();
    ground.agent.wait("it is ready", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    assert_eq!(ground.agent.metric("bowline_ready"), Some(1.0));
    assert_eq!(ground.agent.metric("bowline_source_up{cluster=\"local\"}"), Some(1.0));

    // An agent that finds no folder takes nothing away of what an earlier one has left.
    ground.agent.stop();
    let before = ground.agent.get();
    fs::rename(&ground.agent.folder, &made).unwrap();
    ground.agent.spawn();
    ground.agent.wait("it lives", |agent| agent.healthz().is_ok());
    ground.agent.wait("it is not ready", |agent| agent.readyz().unwrap_err().to_string().contains("503"));
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    fs::rename(&made, &ground.agent.folder).unwrap();
    ground.agent.wait("it is ready", |agent| agent.readyz().is_ok());
    let mut after = ground.agent.get();
    after.0[0].turn -= 1; // the connection above
    assert_eq!(after, before);

    // What is no folder never will be one: it ends and says so.
    ground.agent.stop();
    fs::rename(&ground.agent.folder, &made).unwrap();
    fs::write(&ground.agent.folder, "").unwrap();
    ground.agent.spawn();
    assert!(!ground.agent.ended().success());
    assert!(ground.agent.has_line(&["is no folder"]), "{}", ground.agent.log());
}

#[test]
fn while_the_folder_is_away_all_that_is_known_stays_in_force() {
    let ground = Ground::new("away", 2);
    let vip = at("10.96.1.1", 80);
    ground.agent.serve("web.yaml", &simple("web", vip).to([server(1)]).yaml(), "web", 1);
    let away = ground.agent.folder.with_file_name("away");
    fs::rename(&ground.agent.folder, &away).unwrap();
    ground.agent.wait_for_metric("bowline_source_up{cluster=\"local\"}", 0.0);
    ground
        .agent
        .wait("its age grows", |agent| agent.metric("bowline_source_away_seconds{cluster=\"local\"}").unwrap() > 0.2);
    ground.agent.wait_for_line(&["WARN", "can't be read", "stays in force"]);
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    assert_eq!(ground.agent.get().backends("web"), [server(1)]);
    // What changed meanwhile is taken in when it is back.
    common::put(&away.join("web.yaml"), &simple("web", vip).to([server(2)]).yaml());
    fs::rename(&away, &ground.agent.folder).unwrap();
    ground.agent.wait("the change is taken in", |agent| agent.get().backends("web") == [server(2)]);
    ground.agent.wait_for_metric("bowline_source_up{cluster=\"local\"}", 1.0);
    assert_eq!(ground.agent.metric("bowline_source_away_seconds{cluster=\"local\"}"), Some(0.0));
    ground.agent.wait_for_line(&["INFO", "can be read again"]);
    // And the folder is followed again.
    ground.agent.serve("web.yaml", &simple("web", vip).to([server(1), server(2)]).yaml(), "web", 2);
}

#[test]
fn a_bad_object_is_one_clear_line_and_its_last_good_version_stays() {
    let ground = Ground::new("bad", 2);
    let vip = at("10.96.1.1", 80);
    let good = simple("web", vip).to([server(1)]).yaml();
    ground.agent.serve("web.yaml", &good, "web", 1);
    let lines = ground.agent.log().lines().count();
    // The second document of the file is bad; the others are taken.
    let other = simple("other", at("10.96.1.2", 80)).to([server(2)]).yaml();
    ground.agent.put("web.yaml", &(other.clone() + &good.replace("port: 80, ", "port: 80000, ")));
    ground.agent.wait("the other is there", |agent| agent.get().backends("other") == [server(2)]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    let said: Vec<String> = ground.agent.log().lines().skip(lines).map(str::to_owned).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    for part in ["WARN", "web.yaml:", "Service default/web", "spec.ports[0].port", "80000"] {
        assert!(said[0].contains(part), "{part} in {said:?}");
    }
    assert_eq!(ground.agent.metric("bowline_problems_reported_total"), Some(1.0));
    assert_eq!([tcp1(&ground.client, vip), tcp1(&ground.client, at("10.96.1.2", 80))], ["s-1", "s-2"]);
    // No YAML at all.
    ground.agent.put("broken.yaml", "kind: Service\n  metadata: [");
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 2.0);
    ground.agent.wait_for_line(&["WARN", "broken.yaml"]);
    // Mended.
    ground.agent.remove("broken.yaml");
    ground.agent.put("web.yaml", &(other + &simple("web", vip).to([server(1), server(2)]).yaml()));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
    ground.agent.wait("the good version is there", |agent| agent.get().backends("web").len() == 2);
}

#[test]
fn a_folder_may_hold_json_lists_many_documents_subfolders_and_other_kinds() {
    let ground = Ground::new("folder", 1);
    let sub = ground.agent.folder.join("team/web");
    fs::create_dir_all(&sub).unwrap();
    let json = |name: &str, last: u8| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}},
                "spec": {{"clusterIP": "10.96.1.{last}", "ports": [{{"port": 80}}]}}}}"#
        )
    };
    common::put(&sub.join("one.json"), &json("one", 1));
    ground.agent.put(
        "list.json",
        &format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {}]}}"#, json("two", 2), json("three", 3)),
    );
    let item = "- metadata: {name: four}\n  spec: {clusterIP: 10.96.1.4, ports: [{port: 80}]}\n";
    ground.agent.put("list.yaml", &format!("apiVersion: v1\nkind: ServiceList\nitems:\n{item}"));
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3}\n---\n";
    ground.agent.put(
        "many.yml",
        &(service("five", "clusterIP: 10.96.1.5, ports: [{port: 80}]")
            + deployment
            + &service("six", "clusterIP: 10.96.1.6, ports: [{port: 80}]")),
    );
    ground.agent.put("notes.txt", "no manifest");
    let names = ["five", "four", "one", "six", "three", "two"];
    ground.agent.wait("all six are there", |agent| {
        agent.get().0.iter().map(|port| port.name.as_str()).collect::<Vec<_>>() == names
    });
    assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
    assert_eq!(ground.agent.metric("bowline_objects{cluster=\"local\",kind=\"Service\"}"), Some(6.0));
}

#[test]
fn changes_go_on_while_others_ask_for_metrics_and_readiness() {
    let ground = Ground::new("scraped", 1);
    let (agent, done) = (&ground.agent, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(agent.metrics().contains("bowline_ready 1") && agent.readyz().is_ok());
                }
            });
        }
        for n in 0..100 {
            agent.put("web.yaml", &simple("web", at("10.96.1.1", 80 + n)).to([server(1)]).yaml());
        }
        agent.barrier();
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 179)), "s-1");
}

#[test]
fn metrics_are_open_metrics_and_count_what_happens() {
    let mut ground = Ground::new("metrics", 2);
    ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1), server(2)]).yaml(), "web", 2);
    tcp(&ground.client, at("10.96.1.1", 80), 5);
    let page = ground.agent.metrics();
    assert!(page.contains("# TYPE bowline_service_changes_total counter\n"), "{page}");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        // One is kube-proxy's, for the boards that have it.
        let ours =
            series.starts_with("bowline_") || series.starts_with("kubeproxy_network_programming_duration_seconds");
        assert!(ours && value.parse::<f64>().is_ok(), "{line}");
    }
    for (series, value) in [
        ("bowline_build_info{version=\"0.1.0\"}", 1.0),
        ("bowline_ready", 1.0),
        ("bowline_source_up{cluster=\"local\"}", 1.0),
        ("bowline_problems{cluster=\"local\"}", 0.0),
        ("bowline_problems_reported_total", 0.0),
        ("bowline_objects{cluster=\"local\",kind=\"Service\"}", 1.0),
        ("bowline_objects{cluster=\"local\",kind=\"EndpointSlice\"}", 2.0),
        ("bowline_map_entries{map=\"frontends\"}", 1.0),
        ("bowline_map_entries{map=\"services\"}", 1.0),
        ("bowline_map_entries{map=\"backends\"}", 2.0),
        ("bowline_map_entries{map=\"slots\"}", 8.0),
        ("bowline_map_capacity{map=\"frontends\"}", 131_072.0),
        ("bowline_map_capacity{map=\"sockets\"}", 1_048_576.0),
        ("bowline_verdicts_total{verdict=\"scheduled\"}", 5.0),
        ("bowline_verdicts_total{verdict=\"no_endpoint\"}", 0.0),
        ("bowline_network_programming_duration_seconds_count", 1.0),
    ] {
        assert_eq!(ground.agent.metric(series), Some(value), "{series} in {page}");
    }
    assert!(ground.agent.metric("bowline_service_changes_total").unwrap() >= 1.0);
    assert!(ground.agent.metric("bowline_mapped_bytes").unwrap() > 0.0);
    // An empty address: not served.
    ground.agent.stop();
    ground.agent.flags(&["--metrics-bind-address", ""]);
    ground.agent.start();
    assert!(ground.node.http(at("127.0.0.1", 10249), "/metrics").is_err());
    ground.agent.stop();
    ground.agent.flags(&["--metrics-bind-address", "127.0.0.1:20249", "--healthz-bind-address", "127.0.0.1:20256"]);
    ground.agent.spawn();
    let ready = || ground.node.http(at("127.0.0.1", 20256), "/readyz").is_ok();
    wait_for("readiness at another address", PATIENCE, ready).unwrap();
    assert!(ground.node.http(at("127.0.0.1", 20249), "/metrics").unwrap().contains("bowline_ready 1"));
}

#[test]
fn logs_are_key_value_pairs_or_one_json_object_a_line() {
    let mut ground = Ground::without_agent("logs", 1);
    ground.agent.put("bad.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: []}\n");
    ground.agent.start();
    ground.agent.wait_for_line(&["INFO", "starting", "node=node", "version=\"0.1.0\""]);
    ground.agent.wait_for_line(&["WARN", "origin=", "object=", "field=", "default/web"]);
    assert!(!ground.agent.log().contains('\u{1b}'), "no colours in a file");
    ground.agent.stop();
    let text = ground.agent.log();

    ground.agent.flags(&["--log-format=json"]);
    ground.agent.start();
    ground.agent.wait_for_line(&["default/web", "\"level\":\"WARN\""]);
    ground.agent.stop();
    let log = ground.agent.log();
    let lines: Vec<serde_json::Value> =
        log[text.len()..].lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert!(lines.len() >= 4);
    for line in &lines {
        for key in ["timestamp", "level", "message"] {
            assert!(line[key].is_string(), "{key} in {line}");
        }
    }
    let starting = lines.iter().find(|line| line["message"] == "starting").unwrap();
    assert_eq!(starting["node"], "node");

    // -v 0 says only what needs attention; -v 2 more than 1.
    ground.agent.flags(&["-v", "0"]);
    ground.agent.start();
    ground.agent.wait("the problem is told", |agent| agent.log().matches("default/web").count() >= 3);
    ground.agent.stop();
    assert!(!ground.agent.log()[log.len()..].contains("INFO"));
    ground.agent.flags(&["-v", "2"]);
    ground.agent.start();
    ground.agent.barrier();
    ground.agent.wait_for_line(&["DEBUG", "programmed"]);
}
