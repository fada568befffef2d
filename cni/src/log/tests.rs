//! The log after whatever can happen to a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bowline-cni-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("attachments.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn attachment(n: u32) -> Attachment {
    let key = Key { container: format!("c{n}"), ifname: "eth0".into() };
    Attachment {
        mac: key.macs().1,
        key,
        network: "pods".into(),
        netns: format!("/run/netns/{n}"),
        addresses: vec![std::net::Ipv4Addr::from(0x0a01_0002 + n).into()],
        mtu: 1450,
        own_mtu: false,
        pod: None,
        ports: Vec::new(),
        bandwidth: None,
        delegated: false,
    }
}

fn keys(attached: &Attached) -> Vec<(&str, Stage)> {
    attached.iter().map(|(key, (_, stage))| (key.container.as_str(), *stage)).collect()
}

#[test]
fn what_was_noted_is_there_after_a_start() {
    let folder = Folder::new("start");
    let (mut log, attached, damaged) = Log::open(&folder.log()).unwrap();
    assert!(attached.is_empty() && damaged.is_empty());
    for n in 0..4 {
        log.held(&attachment(n)).unwrap().sync().unwrap();
    }
    log.going(&attachment(1).key).unwrap();
    log.going(&attachment(2).key).unwrap();
    log.gone(&attachment(2).key, &attached).unwrap();
    drop(log);
    for _ in 0..2 {
        let (_, attached, damaged) = Log::open(&folder.log()).unwrap();
        assert_eq!(keys(&attached), [("c0", Stage::Held), ("c1", Stage::Going), ("c3", Stage::Held)]);
        assert_eq!(attached[&attachment(3).key].0, attachment(3));
        assert_eq!(damaged, [""; 0]);
    }
}

/// Cut at each byte, as after a loss of power.
#[test]
fn a_log_that_ends_anywhere_gives_what_was_whole() {
    let folder = Folder::new("cut");
    let (mut log, ..) = Log::open(&folder.log()).unwrap();
    let mut ends = vec![0];
    for n in 0..3 {
        log.held(&attachment(n)).unwrap().sync().unwrap();
        ends.push(fs::metadata(folder.log()).unwrap().len() as usize);
    }
    let bytes = fs::read(folder.log()).unwrap();
    for length in 0..=bytes.len() {
        let (attached, damaged) = read(&folder.log(), &bytes[..length]);
        // A line without its newline is whole.
        let whole = ends.iter().filter(|end| **end > 0 && **end - 1 <= length).count();
        assert_eq!(attached.len(), whole, "{length}");
        let is_at_an_end = ends.iter().any(|end| length == *end || length + 1 == *end);
        assert_eq!(damaged.is_empty(), is_at_an_end, "{length}: {damaged:?}");
    }
}

#[test]
fn a_damaged_line_takes_no_other_along_and_is_told() {
    let folder = Folder::new("damaged");
    let (mut log, ..) = Log::open(&folder.log()).unwrap();
    (0..3).for_each(|n| log.held(&attachment(n)).unwrap().sync().unwrap());
    let mut bytes = fs::read(folder.log()).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 30;
    bytes[second] ^= 4;
    bytes.extend(b"rubbish\n\xff\xfe 12\n");
    fs::write(folder.log(), &bytes).unwrap();
    let (_, attached, damaged) = Log::open(&folder.log()).unwrap();
    assert_eq!(keys(&attached), [("c0", Stage::Held), ("c2", Stage::Held)]);
    let path = folder.log();
    let at = |line: u32, why: &str| format!("{}:{line}: {why}", path.display());
    let expected = [at(2, "its checksum is wrong"), at(4, "no line of this log"), at(5, "no line of this log")];
    assert_eq!(damaged, expected);
    assert!(Log::open(&folder.log()).unwrap().2.is_empty(), "it is written anew");
}

#[test]
fn a_log_does_not_grow_with_what_is_gone() {
    let folder = Folder::new("grows");
    let (mut log, mut attached, _) = Log::open(&folder.log()).unwrap();
    let keep = attachment(1_000_000);
    log.append(&Line::Held(Box::new(keep.clone()))).unwrap();
    attached.insert(keep.key.clone(), (keep, Stage::Held));
    for n in 0..20_000 {
        log.append(&Line::Held(Box::new(attachment(n)))).unwrap();
        log.gone(&attachment(n).key, &attached).unwrap();
    }
    let size = fs::metadata(folder.log()).unwrap().len();
    assert!(size < 2_000_000, "{size}");
    assert_eq!(keys(&Log::open(&folder.log()).unwrap().1), [("c1000000", Stage::Held)]);
}
