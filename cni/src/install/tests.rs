//! Files that come and go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bowline-cni-install-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("net.d")).unwrap();
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::write(path.join("bowline-cni"), "bowline-cni, a program").unwrap();
        Folder(path)
    }

    fn install(&self, exclusive: bool) -> Install {
        Install {
            conf_dir: self.0.join("net.d"),
            bin_dir: self.0.join("bin"),
            plugin: self.0.join("bowline-cni"),
            exclusive,
            apart: None,
            folder: self.0.join("state"),
        }
    }

    fn files(&self) -> BTreeMap<String, String> {
        let folders = ["net.d", "bin"].map(|folder| fs::read_dir(self.0.join(folder)).unwrap());
        let files = folders.into_iter().flatten().map(|entry| entry.unwrap());
        files
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn others_are_set_aside_and_come_back() {
    let folder = Folder::new("aside");
    for name in ["10-flannel.conflist", "00-broken.conf", "x.json", "notes.txt"] {
        fs::write(folder.0.join("net.d").join(name), name).unwrap();
    }
    let before = folder.files();
    let install = folder.install(true);
    for _ in 0..2 {
        install.put().unwrap();
        let names: Vec<String> = folder.files().into_keys().collect();
        let expected = [
            "00-broken.conf.bowline-aside",
            "05-bowline.conflist",
            "10-flannel.conflist.bowline-aside",
            "bowline-cni",
            "loopback",
            "notes.txt",
            "x.json.bowline-aside",
        ];
        assert_eq!(names, expected);
    }
    assert_eq!(others(&install.conf_dir).unwrap(), [] as [PathBuf; 0]);
    take_away(&install.folder, |_, done| done.unwrap());
    assert_eq!(folder.files(), before);
    take_away(&install.folder, |path, _| unreachable!("{}", path.display()));
}

#[test]
fn beside_others_and_a_loopback_of_somebody_else() {
    let folder = Folder::new("beside");
    fs::write(folder.0.join("net.d/10-other.conf"), "{}").unwrap();
    fs::write(folder.0.join("bin/loopback"), "another's").unwrap();
    let install = folder.install(false);
    install.put().unwrap();
    let files = folder.files();
    assert_eq!(files["loopback"], "another's");
    assert_eq!(files["10-other.conf"], "{}");
    assert!(CONFLIST < "10-other.conf");
    assert_eq!(others(&install.conf_dir).unwrap(), [install.conf_dir.join("10-other.conf")]);
    let list: serde_json::Value = serde_json::from_str(&files[CONFLIST]).unwrap();
    assert_eq!((list["cniVersion"].as_str(), list["plugins"][0]["type"].as_str()), (Some("1.0.0"), Some(PLUGIN)));
    // A newer agent brings a newer plugin.
    fs::write(&install.plugin, "bowline-cni, a newer program").unwrap();
    install.put().unwrap();
    assert_eq!(folder.files()["bowline-cni"], "bowline-cni, a newer program");
    take_away(&install.folder, |_, done| done.unwrap());
    let names: Vec<String> = folder.files().into_keys().collect();
    assert_eq!(names, ["10-other.conf", "loopback"]);
}

#[test]
fn a_loopback_that_is_put_over_ours_stays() {
    let folder = Folder::new("loopback");
    let install = folder.install(true);
    install.put().unwrap();
    assert_eq!(folder.files()["loopback"], "bowline-cni, a program");
    // As an update of containernetworking-plugins does.
    fs::write(folder.0.join("bin/loopback"), "another's").unwrap();
    install.put().unwrap();
    assert_eq!(folder.files()["loopback"], "another's");
    take_away(&install.folder, |_, done| done.unwrap());
    assert_eq!(folder.files(), BTreeMap::from([("loopback".to_owned(), "another's".to_owned())]));
}

#[test]
fn a_plugin_finds_an_agent_that_is_apart() {
    let folder = Folder::new("apart");
    let apart = Apart { socket: folder.0.join("cni.sock"), tombstones: folder.0.join("state/tombstones") };
    let install = Install { apart: Some(apart.clone()), ..folder.install(true) };
    let list: serde_json::Value = serde_json::from_str(&install.conflist()).unwrap();
    let plugin = &list["plugins"][0];
    assert_eq!((&plugin["socket"], &plugin["tombstones"]), (&json!(apart.socket), &json!(apart.tombstones)));
}
