//! What lies beyond the nodes of a cluster: a way out that leads nowhere, and a resolver that knows a few names.
//!
//! The resolver is what /etc/resolv.conf of a real node names: the cluster's DNS forwards to it. It is CoreDNS, so that
//! two programs meet there that nobody wrote for each other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Machine, Server, binary};
use crate::Lab;
use crate::lab::{NETNS, run};

/// Its addresses in the network of the nodes.
const ADDRESSES: [&str; 2] = ["192.168.0.254", "fd01::fe"];
/// Addresses of `many.beyond.test`: more than a datagram takes.
const MANY: u8 = 120;

/// The world outside of a cluster.
#[derive(Debug)]
pub(crate) struct Beyond {
    netns: String,
    resolver: Server,
}

impl Beyond {
    /// Gives the nodes their way out, and starts the resolver. A process of a node that asks for the address of a
    /// Service needs a route before kube-proxy gets to see its packet.
    pub(crate) fn new(lab: &Lab, machines: &[Machine]) -> Result<Beyond> {
        let folder = lab.folder("beyond")?;
        let resolver = Server::new("the resolver beyond the cluster", folder.join("log"));
        let mut beyond = Beyond { netns: lab.wire_netns(), resolver };
        let [v4, v6] = ADDRESSES;
        for args in [format!("addr add {v4}/24 dev lan"), format!("addr add {v6}/64 dev lan nodad")] {
            beyond.ip(&args)?;
        }
        for machine in machines {
            machine.ip(&format!("route add default via {v4}"))?;
            machine.ip(&format!("-6 route add default via {v6}"))?;
        }
        beyond.start_resolver(lab, folder)?;
        Ok(beyond)
    }

    /// The way back to the pods of a node.
    pub(crate) fn route_pods(&self, machine: &Machine, cidrs: &[String]) -> Result<()> {
        cidrs.iter().try_for_each(|cidr| self.ip(&format!("route add {cidr} via {}", machine.address_like(cidr))))
    }

    /// The resolver, as a node's /etc/resolv.conf has it.
    pub(crate) fn resolv_conf() -> String {
        format!("nameserver {}\n", ADDRESSES[0])
    }

    fn start_resolver(&mut self, lab: &Lab, folder: PathBuf) -> Result<()> {
        let (corefile, zone) = (folder.join("Corefile"), folder.join("beyond.test"));
        let text = format!(
            ".:53 {{\n    bind {}\n    errors\n    file {} beyond.test\n}}\n",
            ADDRESSES.join(" "),
            zone.display()
        );
        fs::write(&corefile, text).with_context(|| format!("cannot write {}", corefile.display()))?;
        let mut names = "@ 300 SOA ns hostmaster 1 7200 1800 86400 30\n@ 300 NS ns\nns 300 A 192.168.0.254\n\
                         www 300 A 192.0.2.80\nwww 300 AAAA 2001:db8::80\nalias 300 CNAME www\n"
            .to_owned();
        (1..=MANY).for_each(|host| names += &format!("many 300 A 198.51.100.{host}\n"));
        fs::write(&zone, names).with_context(|| format!("cannot write {}", zone.display()))?;

        let cgroup = lab.cgroup().join("beyond");
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$0" || exit 1; net=$1; shift; exec nsenter --net="$net" -- "$@""#]);
        command.arg(cgroup.join("cgroup.procs")).arg(format!("{NETNS}/{}", self.netns));
        self.resolver.start(command.arg(binary("coredns")?).arg("-conf").arg(&corefile))?;
        let log = self.resolver.log().to_owned();
        // Its last line before it serves.
        self.resolver.wait_until("an answer", || fs::read_to_string(&log).is_ok_and(|said| said.contains("CoreDNS-")))
    }

    /// Lets it go on without us.
    pub(crate) fn let_go(&mut self) {
        self.resolver.let_go();
    }

    fn ip(&self, args: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.netns]).args(args.split(' ')))
    }
}
