//! What a start takes, waits for, and refuses: addresses, flags that are given twice, rights that are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::manifest::simple;
use common::{Ended, Ground, at, bowline, bowline_in, run, server};

#[test]
fn addresses_without_a_port_are_served_at_kube_proxys() {
    let mut ground = Ground::without_agent("ports", 0);
    for (healthz, metrics) in
        [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("[::]", "[::1]"), (":10256", "localhost"), ("127.0.0.001", ":10249")]
    {
        ground.agent.flags(&["--healthz-bind-address", healthz, "--metrics-bind-address", metrics]);
        ground.agent.spawn();
        let page = |port, path: &str| {
            let at = ["127.0.0.1", "::1"].map(|ip| at(ip, port));
            at.into_iter().any(|at| ground.node.http(at, path).is_ok())
        };
        ground.agent.wait("both are served", |_| page(10256, "/readyz") && page(10249, "/metrics"));
        ground.agent.stop();
        assert!(!ground.agent.has_line(&["cannot serve"]), "{healthz} {metrics}: {}", ground.agent.log());
    }
    // Nothing is off.
    ground.agent.flags(&["--healthz-bind-address=", "--metrics-bind-address", "127.0.0.1:10249"]);
    ground.agent.spawn();
    ground.agent.wait("it is ready", |agent| {
        let page = agent.node().http(at("127.0.0.1", 10249), "/metrics");
        page.is_ok_and(|page| page.contains("bowline_ready 1"))
    });
    assert!(ground.agent.healthz().is_err());
    ground.agent.stop();
}

#[test]
fn addresses_that_can_never_work_end_the_start() {
    let ground = Ground::without_agent("never", 0);
    let state = format!("files:{}", ground.agent.folder.display());
    let node = |flags: &[&str]| bowline_in(&ground.node, &[&["node", "--state", &state], flags].concat());
    for (flag, address) in [
        ("--healthz-bind-address", "0.0.0.0:http"),
        ("--healthz-bind-address", "0.0.0.0:65536"),
        ("--healthz-bind-address", "1.2.3"),
        ("--metrics-bind-address", "256.0.0.1:80"),
        ("--metrics-bind-address", "no-such-name.invalid:80"),
        ("--metrics-bind-address", "http://127.0.0.1:10249"),
        ("--metrics-bind-address", "224.0.0.1"),
        ("--localip", "169.254.20.10:53"),
    ] {
        let said = node(&[flag, address]).failed();
        assert!(said.contains(flag) && said.contains("write"), "{address}: {said}");
    }
    let said = node(&["--healthz-bind-address", "0.0.0.0:10249"]).failed();
    for part in ["--healthz-bind-address 0.0.0.0:10249", "--metrics-bind-address 127.0.0.1:10249", "different ports"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn an_address_that_comes_later_is_waited_for_with_one_line() {
    let mut ground = Ground::without_agent("later", 0);
    ground.agent.flags(&["--healthz-bind-address", "192.168.77.7", "--metrics-bind-address", "127.0.0.1"]);
    ground.agent.spawn();
    ground.agent.wait_for_line(&["WARN", "192.168.77.7:10256", "cannot serve health", "--healthz-bind-address"]);
    ground.node.output("ip", &["address", "add", "192.168.77.7/32", "dev", "lo"]).unwrap();
    ground.agent.wait("it is served", |agent| agent.node().http(at("192.168.77.7", 10256), "/healthz").is_ok());
    assert_eq!(ground.agent.log().matches("cannot serve").count(), 1, "{}", ground.agent.log());
    ground.agent.stop();
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_counts_and_lists_add_up() {
    let mut ground = Ground::without_agent("twice", 1);
    ground.agent.flags(&[
        "--healthz-bind-address=127.0.0.1:1",
        "--healthz-bind-address=0.0.0.0:10256",
        "--max-sockets=7",
        "--max-sockets=9",
        "--log-format=json",
        "--log-format=text",
        "-v=0",
        "-v=1",
        "--hostname-override=first",
        "--hostname-override=last",
        "--require-network-policy",
        "--require-network-policy",
    ]);
    ground.agent.spawn();
    assert_eq!(ground.agent.ended().code(), Some(1));
    ground.agent.wait_for_line(&["--require-network-policy: this version"]);
    ground.agent.flags(&[
        "--max-sockets=7",
        "--max-sockets=9",
        "--hostname-override=first",
        "--hostname-override=last",
    ]);
    ground.agent.start();
    ground.agent.wait_for_line(&["starting", "node=last "]);
    assert_eq!(ground.agent.metric("bowline_map_capacity{map=\"sockets\"}"), Some(9.0));
    ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
    let root = ground.node.bpf_root().to_str().unwrap();
    let get = ["get", "svc", "-o", "json", "-o", "name", "-o", "yaml", "-n", "x", "-n", "default", "--kernel"];
    let said = bowline(&[&get[..], &["--kernel", "--bpf-root", "/nowhere", "--bpf-root", root]].concat()).ok();
    assert!(said.contains("name: web"), "{said}");
    // The commands without a server.
    for words in [
        &["dns", "check", "--conf", "x", "--conf", "dns/tests/corefiles/kubeadm.Corefile", "-p", "1", "-p", "53"][..],
        &["dns", "check", "-conf", "x", "-conf", "dns/tests/corefiles/kubeadm.Corefile", "-dns.port=1", "-dns.port=53"],
        &["check", "--cgroup-root", "/tmp", "--cgroup-root", ground.node.cgroup().to_str().unwrap()],
    ] {
        bowline(words).ok();
    }
    // Lists.
    let said =
        bowline(&["apply", "-f", "/no/such/a", "-f", "/no/such/b", "--state", "etcd:http://127.0.0.1:1"]).failed();
    assert!(said.contains("/no/such/a"), "{said}");
    let ranges = ["--service-cluster-ip-range=10.0.0.0/16", "--service-cluster-ip-range=fd00::/112"];
    ground.agent.stop();
    ground.agent.flags(&ranges);
    ground.agent.start();
    let free = "apiVersion: v1\nkind: Service\nmetadata: {name: free}\nspec: {ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}\n";
    ground.agent.put("free.yaml", free);
    ground.agent.wait("it has an address of each", |agent| {
        let at = agent.get().frontends("free");
        at.len() == 2
            && at.iter().all(|at| at.ip().to_string().starts_with(if at.is_ipv4() { "10.0." } else { "fd00::" }))
    });
    ground.agent.stop();
}

/// Runs `bowline` as nobody.
fn as_nobody(args: &[&str]) -> Ended {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    run(command.arg(readable()).args(args))
}

/// The command where everybody may run it.
fn readable() -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    static COPY: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    let copy = || {
        let copy = std::env::temp_dir().join(format!("bowline-as-nobody-{}", std::process::id()));
        // A link where that can be: a debug build is large.
        std::fs::hard_link(env!("CARGO_BIN_EXE_bowline"), &copy)
            .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_bowline"), &copy).map(drop))
            .unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        copy
    };
    COPY.get_or_init(copy).clone()
}

#[test]
fn what_only_root_may_do_is_said_at_once() {
    for (args, command) in [
        (&["node", "--state", "files:/tmp"][..], "node"),
        (&["cleanup"], "cleanup"),
        (&["get", "services"], "get"),
        (&["get", "backends"], "get"),
    ] {
        let said = as_nobody(args).failed();
        for part in ["run it as root", &format!("sudo bowline {command}"), "CAP_SYS_ADMIN"] {
            assert!(said.contains(part), "{args:?}: {said}");
        }
        assert!(said.lines().count() <= 2, "{args:?}: {said}");
    }
    // A port that only root may take.
    let folder = std::env::temp_dir().join(format!("bowline-corefile-{}", std::process::id()));
    std::fs::write(&folder, ".:53 {\n    bind 127.0.0.53\n    whoami\n}\n").unwrap();
    let said = as_nobody(&["dns", "--conf", folder.to_str().unwrap()]).failed();
    assert!(said.contains("127.0.0.53:53: Permission denied") && said.contains("run it as root"), "{said}");
    std::fs::remove_file(&folder).unwrap();
    let said = as_nobody(&["check"]);
    assert!(said.stdout.contains("run it as root"), "{said:?}");
    // What needs no rights.
    as_nobody(&["help"]).ok();
    as_nobody(&["man"]).ok();
    std::fs::remove_file(readable()).unwrap();
}

#[test]
fn get_says_of_each_name_that_is_not_there_what_kubectl_says() {
    let ground = Ground::new("missing", 1);
    ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
    let (root, cgroup) = (ground.node.bpf_root().to_str().unwrap(), ground.node.cgroup().to_str().unwrap());
    let get = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        // The flags of the agent, as README says.
        bowline(&[&["get"], &words[..], &["--bpf-root", root, "--cgroup-root", cgroup]].concat())
    };
    let not_found = "services \"none\" not found";
    for words in [
        "services none",
        "svc/none",
        "services web -n none",
        "service none -o json",
        "svc none -o yaml",
        "backends none",
        "services none -n default",
        "backend/none",
    ] {
        let Ended { status, stdout, stderr } = get(words);
        let wanted = if words.contains("web") { "services \"web\" not found" } else { not_found };
        assert_eq!(
            (status.code(), stdout.as_str(), stderr.as_str()),
            (Some(1), "", &*format!("bowline: {wanted}\n")),
            "{words}"
        );
    }
    // What is there is shown.
    for words in ["services web none", "svc/none svc/web", "services none web other"] {
        let Ended { status, stdout, stderr } = get(words);
        assert_eq!(status.code(), Some(1), "{words}");
        assert!(stdout.lines().count() == 2 && stdout.contains("web"), "{words}: {stdout}");
        assert!(stderr.contains(not_found) && !stderr.contains("\"web\""), "{words}: {stderr}");
    }
    assert_eq!(get("svc/web").ok(), get("services web web").ok());
    assert!(get("svc/web web").failed().contains("write KIND/NAME for each"));
    assert!(get("svc/web backend/web").failed().contains("one kind"));
    assert!(get("pods/web").failed().contains("services and backends"));
}

#[test]
fn setup_waits_while_another_program_installs() {
    let folder = std::env::temp_dir().join(format!("bowline-lists-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // As `apt-get update` holds the lock of the lists.
    let hold = "import fcntl, sys\nf = open(sys.argv[1] + '/lock', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.readline()\n";
    let mut holder = Command::new("python3");
    holder.args(["-c", hold]).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    let nothing = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null"];
    let mut update = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/apt-get"));
    update.args(nothing).arg("-o").arg(format!("Dir::State::Lists={}/", folder.display())).arg("update");
    let mut update = update.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(update.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.next().unwrap();
    for part in ["waiting for process", &holder.id().to_string(), "python3", folder.to_str().unwrap()] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(update.try_wait().unwrap(), None);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert!(update.wait().unwrap().success());
    assert_eq!(lines.next(), None);
    std::fs::remove_dir_all(&folder).unwrap();
}
