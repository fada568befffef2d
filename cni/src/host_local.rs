//! Addresses that pods of the network before this one still have: those that the plugin `host-local` has given, by its files.
//!
//! ```text
//! /var/lib/cni/networks/NETWORK/ADDRESS    the container's id, then its interface
//! ```
//! They are not given to anybody until the file is gone. The runtime tells of the end of such a pod whoever is its network
//! then: us. The file is removed at that DEL, since nobody else ever hears of it.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::attachment::Key;

/// Where host-local keeps them, unless its configuration says `dataDir`.
pub const FOLDER: &str = "/var/lib/cni/networks";

fn files(folder: &Path) -> impl Iterator<Item = (IpAddr, PathBuf)> {
    let networks = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = networks.flat_map(|network| fs::read_dir(network.path()).into_iter().flatten().flatten());
    // Others are its lock, and what it gave last.
    files.filter_map(|file| Some((file.file_name().to_str()?.parse().ok()?, file.path())))
}

/// Those that are held. An empty file is left of a lost power: nobody has that address.
pub(crate) fn held(folder: &Path) -> HashSet<IpAddr> {
    files(folder).filter(|(_, path)| fs::metadata(path).is_ok_and(|file| file.len() > 0)).map(|(ip, _)| ip).collect()
}

/// Gives back what an interface of a container had, which has ended. Says which addresses that were. Older files don't name
/// the interface.
pub(crate) fn give_back(folder: &Path, key: &Key) -> Vec<IpAddr> {
    let is_its = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(&key.container) && lines.next().is_none_or(|ifname| ifname == key.ifname)
    };
    files(folder).filter(|(_, path)| is_its(path) && fs::remove_file(path).is_ok()).map(|(ip, _)| ip).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_another_plugin_has_given_is_held_until_its_container_ends() {
        let folder = std::env::temp_dir().join(format!("bowline-cni-host-local-{}", std::process::id()));
        let network = folder.join("cbr0");
        fs::create_dir_all(&network).unwrap();
        for (name, text) in
            [("10.1.0.5", "4f0c\r\neth0"), ("fd00::5", "4f0c\neth0"), ("10.1.0.6", "77aa"), ("10.1.0.7", "")]
        {
            fs::write(network.join(name), text).unwrap();
        }
        fs::write(network.join("last_reserved_ip.0"), "10.1.0.7").unwrap();
        fs::write(network.join("lock"), "").unwrap();
        let all = |texts: &[&str]| texts.iter().map(|one| one.parse().unwrap()).collect::<HashSet<IpAddr>>();
        assert_eq!(held(&folder), all(&["10.1.0.5", "fd00::5", "10.1.0.6"]));
        let key = |container: &str, ifname: &str| Key { container: container.into(), ifname: ifname.into() };
        assert_eq!(give_back(&folder, &key("4f0c", "net1")), [] as [IpAddr; 0], "another interface of it");
        assert_eq!(
            give_back(&folder, &key("4f0c", "eth0")).into_iter().collect::<HashSet<_>>(),
            all(&["10.1.0.5", "fd00::5"])
        );
        assert_eq!(held(&folder), all(&["10.1.0.6"]));
        assert_eq!(give_back(&folder, &key("unknown", "eth0")), [] as [IpAddr; 0]);
        fs::remove_dir_all(&folder).unwrap();
        assert!(held(&folder).is_empty());
    }
}
