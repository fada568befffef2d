//! `bowline dns check`, `explain`, `query` and `import-kube-dns`, with what managed clusters run today and with what is
//! wrong in it: each message says where, what, and what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bowline;

/// Corefiles as clusters have them.
fn corefile(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dns/tests/corefiles").join(name).display().to_string()
}

/// A folder of a test's own, for as long as it runs.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dns-commands-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn examples() -> String {
    format!("files:{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").display())
}

/// `bowline dns` with these words, kubeadm's Corefile and the examples' state.
fn ask(words: &str) -> common::Ended {
    let (conf, state) = (corefile("kubeadm.Corefile"), examples());
    let words: Vec<&str> = words.split_whitespace().collect();
    bowline(&[&["dns"], &words[..], &["--conf", &conf, "--state", &state]].concat())
}

#[test]
fn check_shows_what_would_listen_and_in_which_order() {
    for name in ["kubeadm", "aks", "eks"] {
        let said = bowline(&["dns", "check", "--conf", &corefile(&format!("{name}.Corefile"))]).ok();
        assert!(said.starts_with("LISTENS AT") || said.starts_with("warning: "), "{said}");
        assert!(said.contains("dns://:53") && said.contains("loop forward\n"), "{said}");
        assert!(said.ends_with("would serve.\n"), "{said}");
    }
}

#[test]
fn check_says_which_certificates_and_keys_will_not_do() {
    let folder = Folder::new("certificates");
    let openssl = |words: &str| {
        let ran = Command::new("openssl").args(words.split(' ')).current_dir(&folder.0).output().unwrap();
        assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    for name in ["own", "other"] {
        openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"));
        openssl(&format!("req -x509 -key {name}.key -days 30 -out {name}.crt -subj /CN={name}"));
    }
    openssl("req -new -key own.key -out own.csr -subj /CN=own");
    openssl("x509 -req -in own.csr -signkey own.key -days -1 -out old.crt");
    let conf = folder.0.join("Corefile");
    let checked = |line: &str| {
        fs::write(&conf, format!(". {{\n{line}\n}}\n")).unwrap();
        bowline(&["dns", "check", "--conf", &conf.display().to_string()])
    };
    let forward = |tls: &str| format!("forward . tls://192.0.2.1 {{\n tls {tls}\n}}");
    let etcd = |tls: &str| format!("etcd {{\n endpoint https://192.0.2.1:2379\n tls {tls}\n}}");
    for (line, number, part) in [
        (forward("own.crt other.key"), 3, "other.key is not the key of the first certificate in"),
        (forward("absent.crt"), 3, "absent.crt can't be read"),
        (forward("own.key"), 3, "own.key has no certificate in PEM form; it has a private key"),
        (etcd("own.crt other.key other.crt"), 4, "other.key is not the key of the first certificate in"),
        (etcd("own.csr"), 4, "own.csr has no certificate in PEM form"),
    ] {
        let refused = checked(&line).failed();
        assert!(refused.contains(&format!("Corefile:{number}")) && refused.contains(part), "{line}: {refused}");
    }
    for line in [forward("own.crt"), etcd("own.crt own.key other.crt")] {
        assert!(checked(&line).ok().ends_with("would serve.\n"), "{line}");
    }
    // What only the time forbids is a warning.
    for line in [forward("old.crt"), etcd("old.crt own.key own.crt")] {
        fs::write(&conf, format!(". {{\n{line}\n}}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        let out = command.args(["dns", "check", "--conf"]).arg(&conf).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && said.contains("old.crt: ") && said.contains("has expired on"),
            "{line}: {said}"
        );
    }
    // The state's own are no part of the Corefile's grammar, and may come later.
    let files = ["own.crt", "other.key", "other.crt"].map(|file| folder.0.join(file).display().to_string()).join(" ");
    let line = format!("kubernetes cluster.local {{\n endpoint https://192.0.2.1:6443\n tls {files}\n}}");
    let said = checked(&line).ok();
    assert!(said.contains("warning: ") && said.contains("other.key is not the key"), "{said}");
    let state = format!("etcd:https://192.0.2.1:2379?cacert={}", folder.0.join("old.crt").display());
    fs::write(&conf, ". {\n whoami\n}\n").unwrap();
    let said = bowline(&["dns", "check", "--conf", &conf.display().to_string(), "--state", &state]).ok();
    assert!(said.contains("warning: ") && said.contains("has expired on"), "{said}");
}

#[test]
fn node_caches_corefile_is_looked_at_as_the_agent_reads_it() {
    let conf = corefile("nodelocal.Corefile");
    let refused = bowline(&["dns", "check", "--conf", &conf]).failed();
    for part in ["nodelocal.Corefile:", "__PILLAR__", "bowline node --dns", "--localip"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let said = bowline(&["dns", "check", "--conf", &conf, "-localip", "169.254.20.10,fd00::a"]).ok();
    assert!(said.contains("dns://169.254.20.10:53") && said.contains("dns://[fd00::a]:53"), "{said}");
    // The Service whose address stands in it is that of the state.
    let folder = Folder::new("template");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\n\
                   spec: {clusterIP: 10.96.0.10, ports: [{port: 53, protocol: UDP}]}\n";
    fs::write(folder.0.join("kube-dns.yaml"), service).unwrap();
    let conf = ["--conf", &conf, "--localip", "169.254.20.10", "--state"];
    let state = format!("files:{}", folder.0.display());
    fs::write(folder.0.join("Corefile"), "cluster.local {\n kubernetes\n forward . __PILLAR__CLUSTER__DNS__\n}\n")
        .unwrap();
    let own = folder.0.join("Corefile").display().to_string();
    let said = bowline(&[
        "dns",
        "explain",
        "web.default.svc.cluster.local",
        "--conf",
        &own,
        conf[2],
        conf[3],
        conf[4],
        &state,
    ]);
    let said = said.ok();
    assert!(said.contains("kubernetes") && said.contains("NXDOMAIN"), "{said}");
    // As a manifest of NodeLocal DNSCache has it: no directive reads the cluster, and all goes to a Service.
    let node = corefile("nodelocal.Corefile");
    let explain = |flags: &[&str]| {
        let words = ["dns", "explain", "web.default.svc.cluster.local", "--conf", &node, "--localip", "169.254.20.10"];
        bowline(&[&words[..], flags].concat())
    };
    let said = explain(&["--state", &state]).ok();
    assert!(said.contains("forwarded to 10.96.0.10:53") && !said.contains("169.254.20.10:53 ("), "{said}");
    let other = service.replace("name: kube-dns", "name: kube-dns-upstream").replace("10.96.0.10", "10.96.0.11");
    fs::write(folder.0.join("upstream.yaml"), other).unwrap();
    let said = explain(&["--state", &state, "-upstreamsvc", "kube-dns-upstream"]).ok();
    assert!(said.contains("forwarded to 10.96.0.11:53"), "{said}");
    // Without it nothing is made up.
    for flags in [&[][..], &["--state", &state, "--upstreamsvc", "nobody"]] {
        let said = explain(flags).failed();
        for part in ["nodelocal.Corefile:", "__PILLAR__CLUSTER__DNS__", "-upstreamsvc", "--state"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn a_block_without_bind_is_the_nodes_own() {
    let folder = Folder::new("bind");
    let conf = folder.0.join("Corefile").display().to_string();
    fs::write(&conf, ". {\n hosts {\n  10.0.0.1 a.test\n }\n}\n").unwrap();
    let said = bowline(&["dns", "check", "--conf", &conf, "--localip", "169.254.20.10"]).ok();
    assert!(said.contains("dns://169.254.20.10:53 "), "{said}");
    assert!(bowline(&["dns", "check", "--conf", &conf]).ok().contains("dns://:53 "));
}

#[test]
fn explain_and_query_take_names_types_and_addresses() {
    let said = ask("explain www.example.com").ok();
    assert!(
        said.contains("would ask") && said.contains("would be forwarded to") && !said.contains("dropped"),
        "{said}"
    );
    let said = ask("explain 10.96.10.1").ok();
    assert!(said.contains(";1.10.96.10.in-addr.arpa.\tIN\tPTR") && said.contains("cart.default.svc"), "{said}");
    let said = ask("query fd00:10:96::2").ok();
    assert!(said.contains("PTR\twiki.default.svc.cluster.local.") && said.contains("answered by kubernetes"), "{said}");
    let said = ask("query _http._tcp.wiki.default.svc.cluster.local srv").ok();
    assert!(said.contains("0 50 80 wiki.default.svc.cluster.local."), "{said}");
    // What is wrong is told before a state is waited for.
    for (words, part) in [
        ("query web BLA", "\"BLA\" is no type; write A, SRV or TYPE65"),
        ("query web..x", "is no domain name"),
        ("query web --server dns://:54", "there are dns://:53"),
        ("query web --from nobody", "write an IP address, or NAMESPACE/NAME"),
        ("query web --from default/nobody", "no such Pod"),
    ] {
        let said = ask(words).failed();
        assert!(said.contains(part), "{words}: {said}");
    }
}

#[test]
fn what_cannot_be_read_says_whose_it_is() {
    let said = bowline(&["dns", "check", "--conf", "/nonexistent/Corefile"]).failed();
    assert!(said.contains("/nonexistent/Corefile: can't be read"), "{said}");
    // The flag counts also where the Corefile alone says that there is a cluster.
    let conf = corefile("kubeadm.Corefile");
    let words = ["dns", "query", "web", "--conf", &conf, "--kubeconfig", "/nonexistent/kubeconfig"];
    let said =
        common::run(Command::new(env!("CARGO_BIN_EXE_bowline")).args(words).env_remove("BOWLINE_STATE")).failed();
    assert!(said.contains("/nonexistent/kubeconfig") && said.contains("--state says another"), "{said}");
}

#[test]
fn who_reads_but_the_first_line_disturbs_nothing() {
    let script = r#""$0" dns query --conf "$1" --state "$2" 10.96.10.1 | true; exit "${PIPESTATUS[0]}""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_bowline")]);
    let ended = common::run(command.args([corefile("kubeadm.Corefile"), examples()]));
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn help_of_each_has_an_example() {
    for command in ["check", "explain", "query", "import-kube-dns"] {
        let said = bowline(&["dns", command, "--help"]).ok();
        assert!(said.contains("Example") && said.contains(&format!("bowline dns {command} ")), "{said}");
    }
}

#[test]
fn a_config_map_of_kube_dns_becomes_a_corefile_that_serves() {
    let folder = Folder::new("kube-dns");
    let conf = folder.0.join("Corefile").display().to_string();
    fs::write(&conf, bowline(&["dns", "import-kube-dns", &corefile("kube-dns.yaml")]).ok()).unwrap();
    assert!(bowline(&["dns", "check", "--conf", &conf]).ok().ends_with("would serve.\n"));
    let said = bowline(&["dns", "import-kube-dns"]).failed();
    assert!(said.contains("standard input: holds no ConfigMap"), "{said}");
}
