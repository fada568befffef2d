//! A node with `bowline node --dns`, a client, and the cluster's DNS server in a pod.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use bowline_lab::{Host, Process, wait_for};

use crate::common::{Ground, PATIENCE, put};

pub(crate) const VIPS: [&str; 2] = ["10.96.0.10", "fd00:10:96::a"];
pub(crate) const LOCAL: &str = "169.254.20.10,fd00:a9fe::10";
pub(crate) const HERE: &str = "10.0.0.1";
pub(crate) const THERE: &str = "10.0.0.2";

/// Answers `who.test` with an address.
pub(crate) fn hosts(address: &str) -> String {
    format!(" hosts {{\n  {address} who.test\n  fallthrough\n }}\n")
}

/// What a dig in a host says: the answer, or how it failed.
pub(crate) fn dig(host: &Host, args: &str) -> String {
    let mut command = host.command("dig");
    let args = args.split_whitespace();
    let out = command.args(["+short", "+tries=1", "+time=2"]).args(args).stdin(Stdio::null()).output().unwrap();
    // The lines before tell of the times that it asked in vain.
    String::from_utf8(out.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
}

/// Who answers at the Service's address.
pub(crate) fn who(ground: &Ground) -> String {
    dig(&ground.client, "@10.96.0.10 who.test")
}

pub(crate) struct Dns {
    pub(crate) ground: Ground,
    /// The cluster's DNS server, in the server pod.
    _there: Process,
    pub(crate) corefile: PathBuf,
}

impl Dns {
    /// The Service and its endpoint; an agent with --dns that isn't started.
    pub(crate) fn new(tag: &str, corefile: &str) -> Dns {
        let mut ground = Ground::without_agent(tag, 0);
        let folder = ground.lab.folder("dns").unwrap();
        let (here, there) = (folder.join("node"), folder.join("cluster"));
        put(&here, corefile);
        put(&there, &format!(". {{\n{}}}\n", hosts(THERE)));
        let mut command = ground.server.command(env!("CARGO_BIN_EXE_bowline"));
        let log = fs::File::create(folder.join("cluster.log")).unwrap();
        command.args(["dns", "--conf"]).arg(there).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let there = ground.server.spawn(&mut command).unwrap();
        let server = ground.server.v4();
        let answers = || dig(&ground.server, &format!("@{server} who.test")) == THERE;
        wait_for("the cluster's DNS server answers", PATIENCE, answers).unwrap();
        ground.agent.put("kube-dns.yaml", &service(&ground));
        ground.agent.flags(&["--dns", here.to_str().unwrap(), "--localip", LOCAL]);
        Dns { ground, _there: there, corefile: here }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, answer: &str) {
        self.ground.agent.wait(&format!("{answer} answers"), |_| who(&self.ground) == answer);
    }
}

fn service(ground: &Ground) -> String {
    let labels = "namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}";
    let ports = "[{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, \
                 {name: metrics, port: 9153, protocol: TCP}]";
    let slice = |name: &str, kind: &str, address: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, {labels}}}\n\
             addressType: {kind}\nendpoints: [{{addresses: [\"{address}\"]}}]\nports: {ports}\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: kube-system}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: kube-dns, namespace: kube-system}}\n\
         spec: {{clusterIP: {0}, clusterIPs: [{0}, \"{1}\"], ipFamilyPolicy: RequireDualStack, ports: {ports}}}\n",
        VIPS[0], VIPS[1]
    ) + &slice("kube-dns-4", "IPv4", &ground.server.v4().to_string())
        + &slice("kube-dns-6", "IPv6", &ground.server.v6().to_string())
}
