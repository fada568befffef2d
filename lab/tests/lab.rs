//! The lab itself, without Bowline: hosts reach each other, storms notice what they must notice, and
//! nothing is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bowline_lab::{Lab, Mode, Storm, StormArgs, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

fn left_of(name: &str) -> Vec<String> {
    let dirs = [Path::new("/run/netns"), Path::new("/sys/fs/bpf"), &std::env::temp_dir()];
    let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    entries.map(|e| e.path().display().to_string()).filter(|path| path.contains(name)).collect()
}

#[test]
fn hosts_reach_each_other_and_all_is_removed() {
    let lab = Lab::new("reach").unwrap();
    let (name, cgroup) = (lab.name().to_owned(), lab.cgroup().to_owned());
    let nodes = [lab.node("worker-1").unwrap(), lab.node("worker-2").unwrap()];
    let pods: Vec<_> = nodes.iter().flat_map(|node| ["a", "b"].map(|pod| node.pod(pod).unwrap())).collect();
    assert_eq!(pods[3].ips(), ["10.2.0.3".parse::<IpAddr>().unwrap(), "fd00:2::3".parse().unwrap()]);
    let _servers: Vec<_> = pods
        .iter()
        .map(|pod| {
            let all = [pod.address(80), pod.address6(80)];
            pod.serve(&format!("{}-1", pod.name()), &all, &all).unwrap()
        })
        .collect();
    for from in nodes.iter().map(|node| &**node).chain(pods.iter().map(|pod| &**pod)) {
        for to in &pods {
            for address in [to.address(80), to.address6(80)] {
                let address = address.to_string();
                let wanted = format!(r#""name":"{}-1""#, to.name());
                for command in ["connect", "udp"] {
                    let seen = from.lab_net(&[command, "--target", &address]).unwrap();
                    assert!(seen.contains(&wanted), "{command} from {} to {address}: {seen}", from.name());
                }
            }
        }
    }
    // One node sees the addresses of the pods of the other, not its own.
    let seen = pods[0].lab_net(&["peer", &pods[2].address(80).to_string()]).unwrap();
    assert!(seen.contains(r#""from":"10.2.0.2:80""#) && seen.contains(r#""local":"10.1.0.2:"#), "{seen}");

    // The process is in the pod's cgroup, and its id is the program's.
    let mut sleep = pods[0].spawn(pods[0].command("sleep").arg("1000").stdin(Stdio::null())).unwrap();
    let comm = format!("/proc/{}/comm", sleep.pid());
    wait_for("sleep to run", PATIENCE, || std::fs::read_to_string(&comm).unwrap() == "sleep\n").unwrap();
    let at = std::fs::read_to_string(format!("/proc/{}/cgroup", sleep.pid())).unwrap();
    assert!(at.contains(&format!("0::/{name}/worker-1/a\n")), "{at}");

    // As an agent does: a pinned file in a folder of its own; a process that nobody tracks.
    std::fs::create_dir(nodes[0].bpf_root()).unwrap();
    let mut orphan = pods[1].command("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    std::fs::write(lab.folder("state").unwrap().join("file"), "x").unwrap();
    assert!(left_of(&name).len() >= 8, "{:?}", left_of(&name));

    drop(lab);
    assert_eq!(left_of(&name), Vec::<String>::new());
    assert!(!cgroup.exists());
    assert!(!sleep.wait(PATIENCE).unwrap().success());
    assert!(!orphan.wait().unwrap().success());
}

#[test]
fn removed_after_a_panic() {
    let result = std::thread::spawn(|| {
        let lab = Lab::new("panic").unwrap();
        let _node = lab.node("worker-1").unwrap();
        std::panic::panic_any(lab.name().to_owned());
    });
    let name = *result.join().unwrap_err().downcast::<String>().unwrap();
    assert_eq!(left_of(&name), Vec::<String>::new());
}

#[test]
fn a_sweep_removes_what_the_dead_left_and_nothing_else() {
    let lab = Lab::new("alive").unwrap();
    // The id of a process that has ended stands for a lab's that was killed.
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = format!("bowl-{}-0-dead", child.id());
    let cgroup = lab.cgroup().parent().unwrap().join(&dead);
    std::fs::create_dir_all(cgroup.join("node")).unwrap();
    std::fs::create_dir_all(format!("/sys/fs/bpf/{dead}/node")).unwrap();
    assert!(Command::new("ip").args(["netns", "add", &format!("{dead}.node")]).status().unwrap().success());
    let script = format!("echo $$ >{}/node/cgroup.procs && exec sleep 1000", cgroup.display());
    let mut left = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let procs = cgroup.join("node/cgroup.procs");
    wait_for("sleep in its cgroup", PATIENCE, || !std::fs::read_to_string(&procs).unwrap().is_empty()).unwrap();

    Lab::sweep().unwrap();
    assert_eq!(left_of(&dead), Vec::<String>::new());
    assert!(!cgroup.exists());
    assert!(!left.wait().unwrap().success());
    assert!(lab.cgroup().exists() && !left_of(lab.name()).is_empty());
}

#[test]
fn a_storm_counts_and_notices() {
    let lab = Lab::new("storm").unwrap();
    let node = lab.node("worker-1").unwrap();
    let (server, client) = (node.pod("server").unwrap(), node.pod("client").unwrap());
    let (web, db) = (server.address(80), server.address6(81));
    let _web_1 = server.serve("web-1", &[web], &[web]).unwrap();
    let _db_1 = server.serve("db-1", &[db], &[db]).unwrap();
    let all = || StormArgs::new().threads(2).target(web, "web").target(db, "db").affinity();

    for mode in [Mode::Tcp, Mode::Udp, Mode::UdpConnected] {
        for exchanges in [1, 3] {
            let storm = Storm::start(&client, &all().mode(mode).exchanges(exchanges)).unwrap();
            storm.wait_for_more(300).unwrap();
            let report = storm.finish().unwrap();
            assert_eq!(report.failed, 0, "{mode:?}: {report:?}");
            assert_eq!(report.names.keys().collect::<Vec<_>>(), ["db-1", "web-1"]);
            // The last connection of each client was cut short by the end.
            assert!(report.answers + 4 >= report.connects * u64::from(exchanges), "{report:?}");
        }
    }

    // What a storm must notice: another service, a server that is removed and answers all the same.
    let storm = Storm::start(&client, &StormArgs::new().target(web, "db")).unwrap();
    storm.wait_for_more(1).unwrap();
    let report = storm.finish().unwrap();
    assert_eq!(report.failures[0].what, "another service answered");

    let storm = Storm::start(&client, &all()).unwrap();
    storm.removing("web-1").unwrap();
    storm.wait_for_more(100).unwrap();
    assert_eq!(storm.count().unwrap().failed, 0);
    storm.removed("web-1").unwrap();
    storm.wait_for_more(100).unwrap();
    let report = storm.finish().unwrap();
    assert!(report.failed > 20 && report.failures.len() == 20, "{report:?}");
    assert_eq!(report.failures[0].what, "a server answered that was removed before the connect");

    // Nobody there: a refusal.
    let storm = Storm::start(&client, &StormArgs::new().target(server.address(9), "web")).unwrap();
    wait_for("a refusal", PATIENCE, || storm.count().unwrap().failed > 0).unwrap();
    assert_eq!(storm.finish().unwrap().failures[0].errno.as_deref(), Some("ECONNREFUSED"));
}

/// An address that two pods have, and a route that says whose it is: a Service made by hand.
#[test]
fn a_storm_notices_another_server_unless_told() {
    let lab = Lab::new("switch").unwrap();
    let node = lab.node("worker-1").unwrap();
    let (one, two, client) = (node.pod("one").unwrap(), node.pod("two").unwrap(), node.pod("client").unwrap());
    let shared: SocketAddr = "192.0.2.1:80".parse().unwrap();
    for pod in [&one, &two] {
        pod.output("ip", &["addr", "add", "192.0.2.1/32", "dev", "lo"]).unwrap();
    }
    let switch_to = |dev| node.output("ip", &["route", "replace", "192.0.2.1", "dev", dev]).unwrap();
    let _servers =
        [one.serve("web-1", &[shared], &[shared]), two.serve("web-2", &[shared], &[shared])].map(Result::unwrap);
    for args in [StormArgs::new().mode(Mode::Udp).affinity(), StormArgs::new().mode(Mode::Udp).exchanges(0)] {
        for told in [true, false] {
            switch_to("pod2");
            let storm = Storm::start(&client, &args.clone().target(shared, "web")).unwrap();
            storm.wait_for_more(100).unwrap();
            if told {
                storm.removing("web-1").unwrap();
            }
            switch_to("pod3");
            if told {
                storm.removed("web-1").unwrap();
            }
            storm.wait_for_more(100).unwrap();
            let report = storm.finish().unwrap();
            assert_eq!(report.names.len(), 2, "{report:?}");
            if told {
                assert_eq!(report.failed, 0, "{report:?}");
            } else {
                assert_eq!(report.failed, 1, "{report:?}");
                assert!(report.failures[0].what.ends_with("another server than before, which was web-1"), "{report:?}");
            }
        }
    }
}

#[test]
fn clients_print_what_they_saw() {
    let lab = Lab::new("clients").unwrap();
    let node = lab.node("worker-1").unwrap();
    let (server, client) = (node.pod("server").unwrap(), node.pod("client").unwrap());
    let (one, two): (SocketAddr, SocketAddr) = (server.address(80), server.address(81));
    let _one = server.serve("a-1", &[one], &[one]).unwrap();
    let _two = server.serve("b-1", &[two], &[two]).unwrap();
    let (one, two) = (one.to_string(), two.to_string());
    let names = |args: &[&str]| -> Vec<String> {
        let out = client.lab_net(args).unwrap();
        let seen = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        seen.map(|s| s["name"].as_str().or(s["errno"].as_str()).unwrap_or_default().to_owned()).collect()
    };
    let both = ["--target", &one, "--target", &two];
    let with = |first: &[&'static str]| -> Vec<String> { names(&[first, &both[..]].concat()) };
    assert_eq!(with(&["udp", "--repeat", "2"]), ["a-1", "b-1", "a-1", "b-1"]);
    assert_eq!(with(&["udp", "--mapped"]), ["a-1", "b-1"]);
    assert_eq!(with(&["udp", "--connected"]), ["a-1", "b-1"]);
    assert_eq!(with(&["reconnect"]), ["a-1", "b-1"]);
    assert_eq!(with(&["reconnect", "--udp"]), ["a-1", "b-1"]);
    assert_eq!(with(&["connect", "--mapped", "--times", "2"]), ["a-1", "b-1", "a-1", "b-1"]);
    let nobody = server.address(9).to_string();
    assert_eq!(names(&["connect", "--target", &nobody]), ["ECONNREFUSED"]);
    assert_eq!(names(&["udp", "--connected", "--target", &nobody]), ["ECONNREFUSED"]);
    let mapped = client.lab_net(&["peer", "--mapped", &one]).unwrap();
    assert!(mapped.contains(r#""from":"[::ffff:10.1.0.2]:80""#), "{mapped}");
}

#[test]
fn http_tells_body_and_status() {
    let lab = Lab::new("http").unwrap();
    let node = lab.node("worker-1").unwrap();
    let pod = node.pod("web").unwrap();
    let root = lab.folder("www").unwrap();
    std::fs::write(root.join("page"), "hello\n").unwrap();
    let mut python = pod.command("python3");
    python.args(["-m", "http.server", "80", "-d"]).arg(&root).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = pod.spawn(&mut python).unwrap();
    wait_for("the page", PATIENCE, || node.http(pod.address(80), "/page").is_ok_and(|body| body == "hello\n")).unwrap();
    let missing = node.http(pod.address(80), "/nothing").unwrap_err().to_string();
    assert!(missing.contains("404"), "{missing}");
}
