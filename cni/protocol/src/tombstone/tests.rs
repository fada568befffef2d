//! Tombstones, and what else may lie in their folder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn tombstone(id: &str, ifname: &str) -> Tombstone {
    Tombstone { container_id: id.into(), ifname: ifname.into(), network: "net".into() }
}

#[test]
fn what_is_written_is_listed_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("not/yet/there");
    assert_eq!(list(&folder).unwrap(), []);
    let (one, two) = (tombstone("one", "eth0"), tombstone("one", "net1"));
    for each in [&two, &one, &one] {
        write(&folder, each).unwrap();
    }
    assert_eq!(list(&folder).unwrap(), [one.clone(), two.clone()]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left there");
    remove(&folder, &one).unwrap();
    remove(&folder, &one).unwrap();
    assert_eq!(list(&folder).unwrap(), [two]);
}

#[test]
fn a_name_says_enough() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one:eth0"), "").unwrap();
    fs::write(folder.path().join("two:eth0"), "{\"container_id\":").unwrap();
    let listed = list(folder.path()).unwrap();
    let nameless = |id: &str| Tombstone { network: String::new(), ..tombstone(id, "eth0") };
    assert_eq!(listed, [nameless("one"), nameless("two")]);
}

#[test]
fn what_is_no_tombstone_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["notes", "a b:eth0", "one:", ":eth0", "one:a:b", ".one:eth0.77"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    assert_eq!(list(folder.path()).unwrap(), []);
}

#[test]
fn an_unfinished_one_goes_when_its_writer_is_surely_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join(".one:eth0.77"), folder.path().join(".two:eth0.78"));
    for path in [&old, &new] {
        fs::write(path, "x").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(list(folder.path()).unwrap(), []);
    assert!(!old.exists() && new.exists());
}

#[test]
fn the_longest_names_fit_into_a_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let long = tombstone(&"a".repeat(200), "fifteen-letters");
    write(folder.path(), &long).unwrap();
    assert_eq!(list(folder.path()).unwrap(), [long]);
}
