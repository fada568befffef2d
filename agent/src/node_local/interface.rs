//! The dummy interface that has the node-local addresses. Who made it is noted in its alias, so that nothing else is
//! ever removed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bowline_net::{Kind, Net};

/// EOPNOTSUPP: the kernel has no interfaces of this kind.
const NOT_SUPPORTED: i32 = 95;

/// The interface of an agent.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name (node-cache's `-interfacename`).
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The place of the agent to which it belongs.
    pub bpf_root: PathBuf,
}

/// What the alias of an agent's interface says; the kernel keeps 255 bytes.
fn note(bpf_root: &Path) -> String {
    let note = format!("bowline node-local DNS of {}", bpf_root.display());
    note.chars().take(200).collect()
}

impl Interface {
    /// Makes it, or adds what it lacks. One that somebody else has made is used and stays his.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ensure(&self) -> anyhow::Result<()> {
        self.try_ensure().with_context(|| format!("interface {} for the node-local DNS server", self.name))
    }

    fn try_ensure(&self) -> anyhow::Result<()> {
        let net = Net::open()?;
        let (link, alias) = match net.link(&self.name)? {
            Some(link) => (link, String::new()),
            None => {
                // Some kernels have no dummies; a bridge without ports holds addresses as well.
                net.add(&self.name, Kind::Dummy).or_else(|error| match error.errno() {
                    Some(NOT_SUPPORTED) => net.add(&self.name, Kind::Bridge),
                    _ => Err(error),
                })?;
                tracing::info!(interface = %self.name, addresses = ?self.addresses, "made the node-local interface");
                (net.link(&self.name)?.context("it was removed as soon as it was made")?, note(&self.bpf_root))
            }
        };
        net.set_up(link.index, &alias)?;
        Ok(self.addresses.iter().try_for_each(|address| net.add_address(link.index, *address))?)
    }
}

/// Removes the interfaces that an agent of this place has made. Returns their names.
///
/// # Errors
/// What the kernel says.
pub fn remove(bpf_root: &Path) -> anyhow::Result<Vec<String>> {
    let mine = note(bpf_root);
    let remove = || -> anyhow::Result<Vec<String>> {
        let net = Net::open()?;
        let mut removed = Vec::new();
        for link in net.links()?.into_iter().filter(|link| link.alias == mine) {
            net.remove(link.index)?;
            removed.push(link.name);
        }
        Ok(removed)
    };
    remove().context("removing the interface of the node-local DNS server")
}
