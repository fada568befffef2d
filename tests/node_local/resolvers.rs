//! What programs see: getaddrinfo of glibc and of musl by a pod's `resolv.conf`, whose questions to the Service the
//! node's own server takes.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Ended, at, run};
use crate::ground::{Dns, HERE, VIPS, hosts};
use crate::libraries;

/// Endpoints of the Service `crowd`: their addresses don't fit into a datagram.
const CROWD: u8 = 100;
/// Its Service, and one with an address of each family.
const WEB: [&str; 2] = ["10.96.1.7", "fd00:10:96::7"];

/// As the kubelet writes it for a pod in `default`, but that a question that is lost is not asked again: it fails,
/// after a time that no busy machine takes for an answer.
fn resolv_conf(server: &str) -> String {
    format!(
        "nameserver {server}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5 attempts:1 timeout:20\n"
    )
}

fn services() -> String {
    let endpoints: Vec<String> = (1..=CROWD).map(|n| format!("{{addresses: [198.18.0.{n}]}}")).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n\
         spec: {{clusterIP: {0}, clusterIPs: [{0}, \"{1}\"], ipFamilyPolicy: RequireDualStack, ports: [{{port: 80}}]}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{name: crowd}}\nspec: {{clusterIP: None, ports: [{{port: 80}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: crowd, labels: {{kubernetes.io/service-name: crowd}}}}\n\
         addressType: IPv4\nendpoints: [{2}]\nports: [{{port: 80}}]\n",
        WEB[0],
        WEB[1],
        endpoints.join(", ")
    )
}

/// What a library finds by this `resolv.conf`, which the program alone sees.
fn resolve(dns: &Dns, resolv_conf: &Path, library: &Path, name: &str) -> Ended {
    let mut command = dns.ground.client.command("unshare");
    command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#]);
    run(command.arg(resolv_conf).arg(library).arg(name).stdin(Stdio::null()))
}

fn addresses(ended: Ended) -> BTreeSet<IpAddr> {
    ended.ok().lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

/// How many questions the node's server has had by this protocol.
fn asked(dns: &Dns, protocol: &str) -> f64 {
    let page = dns.ground.node.http(at("169.254.20.10", 9153), "/metrics").unwrap();
    let label = format!("proto=\"{protocol}\"");
    let lines = page.lines().filter(|line| line.starts_with("coredns_dns_requests_total{") && line.contains(&label));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn both_libraries_resolve_short_names_long_answers_and_both_families_at_once() {
    // Of what is outside it knows `who.test`, and that there is no domain `default`.
    let outside = hosts(HERE) + " template ANY ANY default {\n  rcode NXDOMAIN\n }\n";
    let corefile = format!(". {{\n errors\n prometheus\n kubernetes cluster.local\n{outside}}}\n");
    let mut dns = Dns::new("dns-libc", &corefile);
    dns.ground.agent.put("services.yaml", &services());
    dns.ground.agent.start();
    dns.wait_for(HERE);
    let folder = dns.ground.lab.folder("libraries").unwrap();
    let both: BTreeSet<IpAddr> = WEB.iter().map(|ip| ip.parse().unwrap()).collect();
    let crowd: BTreeSet<IpAddr> = (1..=CROWD).map(|n| IpAddr::from([198, 18, 0, n])).collect();
    dns.ground.agent.wait("the crowd", |_| {
        let said = dns.ground.client.output("dig", &["+short", "@10.96.0.10", "crowd.default.svc.cluster.local"]);
        said.is_ok_and(|said| said.lines().count() == crowd.len())
    });
    let truncated = ["+ignore", "+noedns", "@10.96.0.10", "crowd.default.svc.cluster.local"];
    let said = dns.ground.client.output("dig", &truncated).unwrap();
    assert!(said.lines().any(|line| line.starts_with(";; flags:") && line.contains(" tc")), "{said}");
    for library in libraries::build(&folder, ["glibc", "musl"]) {
        for vip in VIPS {
            let file = folder.join("resolv.conf");
            fs::write(&file, resolv_conf(vip)).unwrap();
            let find = |name: &str| addresses(resolve(&dns, &file, &library, name));
            let what = format!("{} by {vip}", library.display());
            // The first, the second, the last name of the search path; and after all of them the name itself.
            for name in ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"] {
                assert_eq!(find(name), both, "{what}: {name}");
            }
            assert_eq!(find("who.test"), BTreeSet::from([HERE.parse().unwrap()]), "{what}");
            // musl before 1.2.4 asks nobody by TCP: it takes what the datagram has.
            let (before, found) = (asked(&dns, "tcp"), find("crowd"));
            if library.ends_with("glibc") {
                assert_eq!(found, crowd, "{what}");
                assert!(asked(&dns, "tcp") > before, "{what}: the node's own server was asked by TCP");
            } else {
                assert!(found.is_subset(&crowd) && found.len() > 20, "{what}: {found:?}");
            }
            let refused = resolve(&dns, &file, &library, "nobody.default");
            let is_answered = !refused.status.success() && !refused.stdout.contains("again");
            assert!(is_answered, "{what}: an answer that there is none, not a failure: {refused:?}");
        }
    }
    // All of it went to the node's own server.
    let led = dns.ground.agent.metric("bowline_verdicts_total{verdict=\"stand_in\"}").unwrap();
    assert!(led >= 40.0, "{led}");
}
