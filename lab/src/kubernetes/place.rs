//! Where servers run: on the machine itself at a loopback address of their own, or in a host of a lab.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

use crate::{Host, Lab};

/// The first port of servers on the machine: below those that the kernel gives to clients.
const FIRST_PORT: u16 = 20000;

/// A cgroup, a network namespace, an address and a folder for servers. What runs there goes with its lab.
#[derive(Clone, Debug)]
pub struct Place {
    cgroup: PathBuf,
    netns: Option<PathBuf>,
    address: IpAddr,
    folder: PathBuf,
    /// The next free port; none where each server has its usual one.
    ports: Option<Arc<AtomicU16>>,
}

impl Place {
    /// The machine's own network namespace. The address is in 127.0.0.0/8 and belongs to this process
    /// alone, so a server that was stopped finds its port free when it is started again.
    pub fn machine(lab: &Lab) -> Result<Place> {
        static PORTS: AtomicU16 = AtomicU16::new(FIRST_PORT);
        let cgroup = lab.cgroup().join("servers");
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        // A process id has at most 22 bits, so this is 127.64.0.0 to 127.127.255.255.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | high, middle, low).into();
        // Each place of this process begins where no other will come.
        let first = PORTS.fetch_add(100, Ordering::Relaxed);
        let folder = lab.folder(&format!("servers-{first}"))?;
        Ok(Place { cgroup, netns: None, address, folder, ports: Some(Arc::new(AtomicU16::new(first))) })
    }

    /// In a host of a lab, at its IPv4 address; each server has its usual port.
    pub fn host(lab: &Lab, host: &Host) -> Result<Place> {
        let folder = lab.folder(&format!("{}-servers", host.name()))?;
        let (cgroup, netns) = (host.processes().to_owned(), Some(host.netns()));
        Ok(Place { cgroup, netns, address: host.v4().into(), folder, ports: None })
    }

    /// The address at which its servers listen.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// A folder for what a server keeps; made if it isn't there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// An address for one more server, whose usual port this is.
    pub(crate) fn socket(&self, usual: u16) -> SocketAddr {
        let port = self.ports.as_ref().map_or(usual, |next| next.fetch_add(1, Ordering::Relaxed));
        (self.address, port).into()
    }

    /// Whether this is the machine's own network namespace.
    pub(crate) fn is_machine(&self) -> bool {
        self.netns.is_none()
    }

    /// A command that runs here, in the cgroup and the network namespace. The child's id is the program's.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("sh");
        let enter = match self.netns {
            Some(_) => r#"echo $$ >"$0" || exit 1; net=$1; shift; exec nsenter --net="$net" -- "$@""#,
            None => r#"echo $$ >"$0" || exit 1; exec "$@""#,
        };
        command.arg("-c").arg(enter).arg(self.cgroup.join("cgroup.procs"));
        command.args(&self.netns).arg(program.as_ref()).stdin(Stdio::null());
        command
    }
}
