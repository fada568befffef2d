//! Whatever is killed when: nothing is leaked, nothing is given twice.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline_lab::{Lab, amount, wait_for};
use serde_json::json;

use crate::ground::{Container, PATIENCE, Site};

fn one_node(tag: &str, lab: &Lab) -> Site {
    let mut site = Site::new(lab, "one", &["--pod-cidr", "10.244.1.0/24,fd44:0:0:1::/64"]);
    site.agent.start();
    let _ = tag;
    site
}

#[test]
fn without_its_agent_a_node_adds_nothing_deletes_and_says_so() {
    let lab = Lab::new("pods-down").unwrap();
    let mut site = one_node("down", &lab);
    let (gone, stays) = (site.container("gone"), site.container("stays"));
    let _serves = stays.serve("stays", 80);
    let to = (stays.addresses[0], 80).into();
    gone.wait_for(to, "stays");
    let id = (gone.id.clone(), gone.netns());
    let stays = (stays.addresses.clone(), stays);
    let config = site.config();
    // Ended in order, and killed.
    let pid = site.agent.pid();
    assert!(pid > 0);
    drop((gone, stays));
    site.agent.kill();
    let new = Container::new(&site, "new");
    let begun = Instant::now();
    let error = site.call("ADD", &new.id, &new.netns(), "", &config).unwrap_err();
    assert_eq!(error["code"], 11, "{error}");
    assert_eq!(site.call("STATUS", "", "", "", &config).unwrap_err()["code"], 50);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    site.call("DEL", &id.0, &id.1, "", &config).unwrap();
    assert_eq!(fs::read_dir(site.folder.join("tombstones")).unwrap().count(), 1);
}

/// Callers add and delete without pause, while the agent and the plugin are killed at random.
#[test]
fn nothing_is_leaked_or_doubled_whatever_is_killed() {
    let lab = Lab::new("pods-kill").unwrap();
    let mut site = one_node("kill", &lab);
    let (kills, callers) = (amount(300, 12), 6);
    let (stop, calls, plugin_kills) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let in_use: Mutex<HashSet<IpAddr>> = Mutex::default();
    let config = site.config();
    // The agent is killed and started by this thread, the plugin is called by others: they share what doesn't change.
    let (folder, node) = (site.folder.clone(), site.node.clone());
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (stop, calls, plugin_kills, in_use, config) = (&stop, &calls, &plugin_kills, &in_use, &config);
            let (folder, node) = (&folder, &node);
            scope.spawn(move || {
                let view = View { folder, node };
                let netns = view.namespace(caller);
                let mut turn = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let id = format!("kill-{caller}-{turn}");
                    // Every fifth call's plugin is killed in its midst.
                    let killed = turn.is_multiple_of(5);
                    let added = view.call("ADD", &id, &netns, config, killed.then_some(turn as u64 % 7));
                    calls.fetch_add(1, Ordering::Relaxed);
                    if killed {
                        plugin_kills.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Some(addresses) = added {
                        let mut all = in_use.lock().unwrap();
                        for address in &addresses {
                            assert!(all.insert(*address), "{address} was given twice");
                        }
                        drop(all);
                        std::thread::sleep(Duration::from_millis(2));
                        let mut all = in_use.lock().unwrap();
                        all.retain(|address| !addresses.contains(address));
                    }
                    // A runtime deletes until it succeeds, also what failed.
                    while view.call("DEL", &id, &netns, config, None).is_none() && !stop.load(Ordering::Relaxed) {}
                }
                view.remove(&netns);
            });
        }
        for kill in 0..kills {
            let before = calls.load(Ordering::Relaxed);
            let pause = Duration::from_millis(20 + (kill as u64 * 37) % 180);
            std::thread::sleep(pause);
            wait_for("calls", PATIENCE, || calls.load(Ordering::Relaxed) > before + 2).unwrap();
            site.agent.kill();
            std::thread::sleep(Duration::from_millis(kill as u64 * 13 % 60));
            site.agent.start();
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!(
        "{} calls, {kills} kills of the agent, {} of the plugin",
        calls.load(Ordering::Relaxed),
        plugin_kills.load(Ordering::Relaxed)
    );
    assert!(calls.load(Ordering::Relaxed) > kills * 2);
    // Those whose last DEL was cut short by the end of the test go with their namespaces, which a collection finds.
    let mut gc = config.clone();
    gc["cni.dev/valid-attachments"] = json!([]);
    let left = || (site.wires(), site.held());
    let clean = wait_for("nothing left", PATIENCE, || {
        let _ = site.call("GC", "", "", "", &gc);
        left() == (0, Vec::new())
    });
    assert!(clean.is_ok(), "{:?}\n{}", left(), site.agent.log());
    let routes = site.node.output("ip", &["route"]).unwrap();
    assert!(!routes.contains("10.244.1."), "{routes}");
    // All of the network can be given.
    let many: Vec<Container<'_>> = (0..20).map(|n| site.container(&format!("after-{n}"))).collect();
    let distinct: HashSet<IpAddr> = many.iter().flat_map(|one| one.addresses.clone()).collect();
    assert_eq!(distinct.len(), 40);
}

/// What callers need of a site while its agent is killed and started.
struct View<'a> {
    folder: &'a std::path::Path,
    node: &'a bowline_lab::Node,
}

impl View<'_> {
    fn namespace(&self, caller: usize) -> String {
        let lab = self.node.netns().file_name().unwrap().to_str().unwrap().to_owned();
        let name = format!("{lab}.kill{caller}");
        assert!(std::process::Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
        format!("/run/netns/{name}")
    }

    fn remove(&self, netns: &str) {
        let name = netns.rsplit('/').next().unwrap();
        assert!(std::process::Command::new("ip").args(["netns", "del", name]).status().unwrap().success());
    }

    /// The addresses of an ADD, none of a DEL; None: it failed. It is killed after so many milliseconds, if it still runs.
    fn call(
        &self,
        command: &str,
        id: &str,
        netns: &str,
        config: &serde_json::Value,
        kill_after: Option<u64>,
    ) -> Option<Vec<IpAddr>> {
        let mut plugin = std::process::Command::new(self.folder.join("bin/bowline-cni"));
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0");
        plugin.env("CNI_NETNS", netns).env("CNI_PATH", self.folder.join("bin"));
        let pipe = std::process::Stdio::piped;
        let mut child = plugin.stdin(pipe()).stdout(pipe()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let _ = serde_json::to_writer(child.stdin.take().unwrap(), config);
        if let Some(after) = kill_after {
            std::thread::sleep(Duration::from_millis(after));
            let _ = child.kill();
        }
        let out = child.wait_with_output().unwrap();
        if !out.status.success() {
            return None;
        }
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let ips = said["ips"].as_array().cloned().unwrap_or_default();
        let address = |ip: &serde_json::Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        Some(ips.iter().filter_map(address).collect())
    }
}
