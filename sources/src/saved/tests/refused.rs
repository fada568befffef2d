//! What is not read: for each way in which a file can be wrong, what is told.

use super::*;

/// What is told of a file.
fn told(path: &Path) -> String {
    let Problem { origin, message, .. } = read(path, SOURCE, DAY).map(|loaded| loaded.map(|l| l.changes)).unwrap_err();
    let path = path.display().to_string();
    let place = origin.strip_prefix(&path).unwrap();
    let reason = message.strip_suffix("; this snapshot is not used, and is written anew once the source can be read");
    format!("{place} {}", reason.unwrap())
}

/// The lines of a whole file with their checksum made new.
fn seal(path: &Path, lines: &[&str]) {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let digest = hex(&ring::digest::digest(&SHA256, text.as_bytes()));
    text += &format!("{{\"sha256\":\"{digest}\"}}\n");
    fs::write(path, text).unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn no_file_is_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(&folder.path().join("missing/snapshot"), SOURCE, DAY).unwrap().is_none());
}

#[test]
fn every_byte_counts() {
    let (_folder, path) = saved();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        told(&path);
        let mut other = whole.clone();
        other[at] ^= 1;
        fs::write(&path, &other).unwrap();
        told(&path);
    }
    fs::write(&path, &whole).unwrap();
    assert!(read(&path, SOURCE, DAY).unwrap().is_some());
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let (_folder, path) = saved();
    let whole = fs::read_to_string(&path).unwrap();
    let of = |text: &str| {
        fs::write(&path, text).unwrap();
        told(&path)
    };
    assert_eq!(of(""), ":1 is cut short: it ends here");
    assert_eq!(of(&whole[..whole.len() - 1]), ":5 is cut short: it ends here");
    let without_the_last = whole.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(of(&without_the_last), ":5 is cut short: it ends here");
    assert_eq!(of(&whole.replace("80", "81")), " is not as it was written: its checksum (SHA-256) is another");
    let more = ":5 is not as it was written: there is more behind its checksum";
    assert_eq!(of(&format!("{whole}{whole}")), more);
    assert_eq!(of("\0\0\0\0\n"), ":1 does not begin as a snapshot of Bowline's");
    assert_eq!(of("{\"bowline\":\"config\",\"format\":1}\n"), ":1 is no snapshot of Bowline's");
    assert!(
        of("{\"bowline\":\"snapshot\",\"format\":1}\n").starts_with(":1 has a header that is wrong: missing field")
    );
}

#[test]
fn one_of_another_format_or_source_is_refused() {
    let (_folder, path) = saved();
    let whole = lines(&path);
    let header = whole[0].replace("\"format\":1", "\"format\":2,\"new\":[]");
    seal(&path, &[&header]);
    assert_eq!(told(&path), ":1 has the format 2; this Bowline reads 1");
    write(&path, "etcd:http://192.0.2.1", &two().snapshot()).unwrap();
    assert_eq!(told(&path), " is of the source \"etcd:http://192.0.2.1\", not of \"files:/etc/bowline\"");
}

#[test]
fn an_object_that_is_refused_refuses_all() {
    let (_folder, path) = saved();
    let whole = lines(&path);
    seal(&path, &[&whole[0], &whole[1], &whole[2].replace("80", "0"), &whole[3]]);
    assert_eq!(told(&path), ":3 is 0; write a number from 1 to 65535");
    let problem = read(&path, SOURCE, DAY).map(|_| ()).unwrap_err();
    assert_eq!(
        (problem.object.as_deref(), problem.field.as_deref()),
        (Some("Service default/a"), Some("spec.ports[0].port"))
    );
    let list = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{},{}]}}", whole[2], whole[3]);
    seal(&path, &[&whole[0], &whole[1], &list, &whole[3]]);
    assert_eq!(told(&path), ":3 has 2 objects on one line, where one belongs");
    seal(&path, &[&whole[0], &whole[1], "", &whole[3]]);
    assert_eq!(told(&path), ":3 has 0 objects on one line, where one belongs");
}

#[test]
fn a_kind_that_only_a_newer_bowline_reads_is_left_out() {
    let (_folder, path) = saved();
    let whole = lines(&path);
    let newer = r#"{"apiVersion":"bowline.dev/v9","kind":"Tide","metadata":{"name":"high"}}"#;
    seal(&path, &[&whole[0], newer, &whole[2], &whole[3]]);
    assert_eq!(read(&path, SOURCE, DAY).unwrap().unwrap().changes.len(), 2);
}

#[test]
fn what_is_no_file_or_too_big_is_not_even_opened_for_long() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(told(folder.path()), " is no file");
    let path = folder.path().join("snapshot");
    // Sparse: it takes no room.
    File::create(&path).unwrap().set_len(MAX_FILE as u64 + 1).unwrap();
    assert_eq!(told(&path), " is bigger than 256 MiB, as none is that Bowline writes");
    File::create(&path).unwrap().set_len(MAX_FILE as u64).unwrap();
    assert_eq!(told(&path), ":1 has a line of more than 16 MiB, as none is that Bowline writes");
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(told(&path), " is no file");
}

/// Kept as it was written by the first Bowline that did: whoever comes after it must read it.
#[test]
fn a_file_of_format_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/saved/format-1.json");
    let loaded = read(&path, "files:/etc/bowline", Duration::MAX).unwrap().unwrap();
    assert_eq!((loaded.changes.len(), loaded.saved.as_str()), (12, "2026-11-14T12:00:00Z"));
}
