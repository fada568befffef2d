//! A folder as a source: the battery, and what only a folder has: editors, mounts, files of many objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]
#![allow(unreachable_pub, reason = "the battery is shared by test programs")]

mod battery;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use battery::{Event, Place, Running, service};
use bowline_cluster::source::Source;
use bowline_sources::files::Files;
use tempfile::TempDir;

/// A folder within one of its own, so that it can be taken away.
struct Folder {
    above: TempDir,
}

impl Folder {
    fn new() -> Folder {
        let above = tempfile::tempdir().unwrap();
        fs::create_dir(above.path().join("state")).unwrap();
        Folder { above }
    }

    fn dir(&self) -> PathBuf {
        self.above.path().join("state")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn with(file: &str, text: &str) -> Folder {
        let folder = Folder::new();
        folder.write(file, text);
        folder
    }
}

impl Place for Folder {
    fn source(&self) -> Box<dyn Source> {
        Box::new(Files::new(self.dir()))
    }
    fn put(&mut self, key: &str, manifest: &str) {
        let temporary = self.above.path().join("next");
        fs::write(&temporary, manifest).unwrap();
        fs::rename(temporary, self.path(&format!("{key}.yaml"))).unwrap();
    }
    fn delete(&mut self, key: &str) {
        fs::remove_file(self.path(&format!("{key}.yaml"))).unwrap();
    }
    fn take_away(&mut self) {
        fs::rename(self.dir(), self.above.path().join("elsewhere")).unwrap();
    }
    fn bring_back(&mut self) {
        fs::rename(self.above.path().join("elsewhere"), self.dir()).unwrap();
    }
}

battery::battery!(Folder::new());

const ONE: &str = "10.0.0.1";
const TWO: &str = "10.0.0.2";

/// The Service was at ONE, then at TWO, and at no moment anywhere else or nowhere.
fn assert_one_step(running: &Running) {
    running.until_ip("a", Some(TWO));
    assert_eq!(running.past_ips("a"), [Some(ONE.to_string()), Some(TWO.to_string())]);
}

#[test]
fn a_file_is_written_in_place() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
}

#[test]
fn a_file_is_cut_short_and_written_in_pieces() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    let text = service("a", TWO);
    let mut file = File::create(folder.path("a.yaml")).unwrap();
    // Another file that comes meanwhile shows that the source has seen what came before.
    for (n, part) in text.as_bytes().chunks(20).enumerate() {
        folder.write(&format!("n-{n}.yaml"), &service(&format!("n-{n}"), "10.9.9.9"));
        running.until_ip(&format!("n-{n}"), Some("10.9.9.9"));
        file.write_all(part).unwrap();
    }
    drop(file);
    running.until_ip("a", Some(TWO));
    assert!(!running.past_ips("a").contains(&None), "never seen empty");
}

#[test]
fn a_file_that_is_left_open_is_read_when_it_is_quiet() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("a.yaml")).unwrap();
    file.write_all(format!("---\n{}", service("b", TWO)).as_bytes()).unwrap();
    running.until_ip("b", Some(TWO));
    drop(file);
}

/// Two Services, the second at the end.
fn two(a: &str, b: &str) -> String {
    format!("{}---\n{}", service("a", a), service("b", b))
}

/// Another file that comes shows that the source has been looking for longer than a file must be quiet.
fn pause(folder: &Folder, running: &Running, name: &str) {
    for n in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(70));
        let name = format!("{name}-{n}");
        folder.write(&format!("{name}.yaml"), &service(&name, "10.9.9.9"));
        running.until_ip(&name, Some("10.9.9.9"));
    }
}

/// Neither Service was ever gone, and none was at a third address.
fn assert_never_gone(running: &Running) {
    running.until_ip("b", Some(TWO));
    running.until_ip("a", Some(TWO));
    for name in ["a", "b"] {
        assert_eq!(running.past_ips(name), [Some(ONE.to_string()), Some(TWO.to_string())], "{name}");
    }
}

#[test]
fn a_file_that_is_written_with_pauses_keeps_what_it_had_until_it_is_closed() {
    let text = two(TWO, TWO);
    let middle = text.find("---").unwrap();
    // Cut short and written, written over from the start, and by a name of its own in between.
    type Open = fn(&std::path::Path) -> File;
    let opens: [Open; 2] =
        [|path| File::create(path).unwrap(), |path| fs::OpenOptions::new().write(true).open(path).unwrap()];
    for open in opens {
        for cut in [0, 10, middle - 1, middle, text.len() - 4, text.len()] {
            let folder = Folder::with("a.yaml", &two(ONE, ONE));
            let running = Running::synced(folder.source());
            let mut file = open(&folder.path("a.yaml"));
            file.write_all(&text.as_bytes()[..cut]).unwrap();
            pause(&folder, &running, "early");
            file.write_all(&text.as_bytes()[cut..]).unwrap();
            drop(file);
            assert_never_gone(&running);
        }
    }
}

#[test]
fn two_files_that_are_written_at_once_keep_what_they_had() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    folder.write(
        "b.json",
        &format!(
            "{}\n",
            serde_json::json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "b"}, "spec": {"externalIPs": [ONE], "ports": [{"port": 80}]}})
        ),
    );
    let running = Running::synced(folder.source());
    let text = fs::read_to_string(folder.path("b.json")).unwrap().replace(ONE, TWO);
    let (mut a, mut b) = (File::create(folder.path("a.yaml")).unwrap(), File::create(folder.path("b.json")).unwrap());
    b.write_all(&text.as_bytes()[..30]).unwrap();
    a.write_all(service("a", TWO).as_bytes()).unwrap();
    pause(&folder, &running, "early");
    drop(a);
    running.until_ip("a", Some(TWO));
    b.write_all(&text.as_bytes()[30..]).unwrap();
    drop(b);
    assert_never_gone(&running);
}

/// A copy of a file handle that is still open counts as well: what a shell's subprocess holds.
#[test]
fn one_close_of_two_is_not_the_end() {
    let folder = Folder::with("a.yaml", &two(ONE, ONE));
    let running = Running::synced(folder.source());
    let mut file = File::create(folder.path("a.yaml")).unwrap();
    file.write_all(service("a", TWO).as_bytes()).unwrap();
    // Somebody else opens and closes it.
    drop(fs::OpenOptions::new().append(true).open(folder.path("a.yaml")).unwrap());
    pause(&folder, &running, "early");
    file.write_all(format!("---\n{}", service("b", TWO)).as_bytes()).unwrap();
    drop(file);
    assert_never_gone(&running);
}

/// Nothing is told before a file is whole that somebody writes to when the source starts.
#[test]
fn a_file_that_is_being_written_at_the_start_is_waited_for() {
    let folder = Folder::with("a.yaml", "");
    folder.write("c.yaml", &service("c", ONE));
    let mut file = File::create(folder.path("a.yaml")).unwrap();
    file.write_all(service("a", ONE).as_bytes()).unwrap();
    let running = Running::start(folder.source());
    std::thread::sleep(std::time::Duration::from_millis(300));
    file.write_all(format!("---\n{}", service("b", ONE)).as_bytes()).unwrap();
    drop(file);
    running.until_ip("b", Some(ONE));
    assert_eq!((running.past_ips("a"), running.past_ips("b")), (vec![Some(ONE.into())], vec![Some(ONE.into())]));
}

/// Documents that are added come, though somebody keeps the file open; what was there does not move.
#[test]
fn what_is_appended_comes_though_the_file_stays_open() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("a.yaml")).unwrap();
    for (n, name) in ["b", "c", "d"].into_iter().enumerate() {
        let text = format!("---\n{}", service(name, TWO));
        let (start, end) = text.split_at(text.len() / (n + 2));
        file.write_all(start.as_bytes()).unwrap();
        pause(&folder, &running, &format!("early-{n}"));
        file.write_all(end.as_bytes()).unwrap();
        running.until_ip(name, Some(TWO));
        assert_eq!(running.past_ips(name), [None, Some(TWO.into())]);
    }
    assert_eq!(running.past_ips("a"), [Some(ONE.into())]);
}

#[test]
fn vim_moves_the_file_away_and_writes_it_anew() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    folder.write(".a.yaml.swp", "b0VIM");
    fs::rename(folder.path("a.yaml"), folder.path("a.yaml~")).unwrap();
    folder.write("a.yaml", &service("a", TWO));
    fs::remove_file(folder.path("a.yaml~")).unwrap();
    assert_one_step(&running);
}

#[test]
fn emacs_keeps_files_beside_it() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    folder.write("#a.yaml#", &service("wrong", ONE));
    symlink("user@host.1", folder.path(".#a.yaml")).unwrap();
    fs::copy(folder.path("a.yaml"), folder.path("a.yaml~")).unwrap();
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
    assert_eq!(running.ip("wrong"), None);
}

#[test]
fn sed_and_kubectl_rename_over_it() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    folder.write("sedXa1b2", &service("a", TWO));
    fs::rename(folder.path("sedXa1b2"), folder.path("a.yaml")).unwrap();
    assert_one_step(&running);
}

#[test]
fn a_script_deletes_it_and_writes_it_anew() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    fs::remove_file(folder.path("a.yaml")).unwrap();
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
}

#[test]
fn a_mounted_config_map_is_swapped() {
    let folder = Folder::new();
    let version = |name: &str, files: &[(&str, &str)]| {
        fs::create_dir(folder.path(name)).unwrap();
        for (file, ip) in files {
            fs::write(folder.path(name).join(file), service(file.trim_end_matches(".yaml"), ip)).unwrap();
        }
        symlink(name, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    version("..2026_01", &[("a.yaml", ONE), ("b.yaml", ONE)]);
    for file in ["a.yaml", "b.yaml"] {
        symlink(Path::new("..data").join(file), folder.path(file)).unwrap();
    }
    let running = Running::synced(folder.source());
    assert_eq!(running.events(), [Event::All(2)], "the files behind the links are read once");
    version("..2026_02", &[("a.yaml", TWO), ("b.yaml", TWO), ("c.yaml", ONE)]);
    symlink("..data/c.yaml", folder.path("c.yaml")).unwrap();
    fs::remove_dir_all(folder.path("..2026_01")).unwrap();
    assert_one_step(&running);
    running.until_ip("c", Some(ONE));
    version("..2026_03", &[("a.yaml", TWO), ("c.yaml", ONE)]);
    running.until_ip("b", None);
}

#[test]
fn the_folder_itself_is_a_link_that_is_swapped() {
    let folder = Folder::new();
    let version = |name: &str, ip: &str| {
        fs::create_dir(folder.path(name)).unwrap();
        fs::write(folder.path(name).join("a.yaml"), service("a", ip)).unwrap();
        symlink(name, folder.path("next")).unwrap();
        fs::rename(folder.path("next"), folder.path("current")).unwrap();
    };
    version("one", ONE);
    let running = Running::synced(Box::new(Files::new(folder.path("current"))));
    version("two", TWO);
    assert_one_step(&running);
    fs::write(folder.path("two/b.yaml"), service("b", ONE)).unwrap();
    running.until_ip("b", Some(ONE));
}

#[test]
fn folders_below_are_read_and_followed_when_they_move() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("x/y")).unwrap();
    folder.write("x/y/a.yaml", &service("a", ONE));
    fs::create_dir(folder.path(".git")).unwrap();
    folder.write(".git/hidden.yaml", &service("hidden", ONE));
    let running = Running::synced(folder.source());
    assert_eq!(running.events(), [Event::All(1)]);
    fs::create_dir_all(folder.path("new/deep")).unwrap();
    folder.write("new/deep/b.yaml", &service("b", ONE));
    running.until_ip("b", Some(ONE));
    fs::rename(folder.path("x"), folder.path("z")).unwrap();
    folder.write("z/y/a.yaml", &service("a", TWO));
    assert_one_step(&running);
    fs::rename(folder.path("z"), folder.above.path().join("out")).unwrap();
    running.until_ip("a", None);
    // What is outside no longer counts.
    fs::write(folder.above.path().join("out/y/a.yaml"), service("a", ONE)).unwrap();
    folder.write("new/deep/b.yaml", &service("b", TWO));
    running.until_ip("b", Some(TWO));
    assert_eq!(running.ip("a"), None);
}

#[test]
fn a_folder_that_leads_into_itself_is_told_and_left_out() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    symlink(".", folder.path("loop")).unwrap();
    let running = Running::synced(folder.source());
    running.until_problems("one problem", |problems| problems.len() == 1 && problems[0].origin.ends_with("loop"));
    assert_eq!(running.events()[0], Event::All(1));
}

#[test]
fn a_folder_that_is_moved_in_is_one_update() {
    let folder = Folder::new();
    let outside = folder.above.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for n in 0..50 {
        fs::write(outside.join(format!("{n}.yaml")), service(&format!("s-{n}"), &format!("10.0.1.{n}"))).unwrap();
    }
    let running = Running::synced(folder.source());
    fs::rename(outside, folder.path("inside")).unwrap();
    running.until_ip("s-49", Some("10.0.1.49"));
    assert_eq!(running.events(), [Event::All(0), Event::Some(50)]);
}

#[test]
fn what_is_no_manifest_is_left_out() {
    let folder = Folder::new();
    for file in ["a.txt", "yaml", ".yaml", ".a.yaml", "a.yaml~", "#a.yaml#", "a.yaml.swp", "a.yaml.bak"] {
        folder.write(file, &service("wrong", ONE));
    }
    folder.write("a.yml", &service("a", ONE));
    folder.write(
        "b.json",
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}]}}"#,
    );
    let running = Running::synced(folder.source());
    assert_eq!((running.events(), running.ip("wrong")), (vec![Event::All(2)], None));
}

#[test]
fn the_same_object_in_two_files_is_the_ones_that_sorts_first() {
    let folder = Folder::with("b.yaml", &service("a", TWO));
    let running = Running::synced(folder.source());
    folder.write("a.yaml", &service("a", ONE));
    running.until_ip("a", Some(ONE));
    running.until_problems("one problem", |problems| {
        let told = problems.first().map(ToString::to_string).unwrap_or_default();
        told.contains("b.yaml:1: Service default/a: is in ") && told.contains("/a.yaml too")
    });
    folder.write("b.yaml", &service("a", "10.0.0.3"));
    folder.write("c.yaml", &service("c", ONE));
    running.until_ip("c", Some(ONE));
    assert_eq!(running.ip("a").as_deref(), Some(ONE), "the other one's changes don't count");
    fs::remove_file(folder.path("a.yaml")).unwrap();
    running.until_ip("a", Some("10.0.0.3"));
    running.until_problems("mended", <[_]>::is_empty);
    assert!(!running.past_ips("a").contains(&None));
}

#[test]
fn an_object_that_moves_to_another_file_is_never_gone() {
    let folder = Folder::with("a.yaml", &(service("a", ONE) + "---\n" + &service("b", ONE)));
    let running = Running::synced(folder.source());
    folder.write("z.yaml", &service("a", TWO));
    folder.write("a.yaml", &service("b", ONE));
    assert_one_step(&running);
}

#[test]
fn the_same_object_twice_in_one_file_is_the_first() {
    let folder = Folder::with("a.yaml", &(service("a", ONE) + "---\n" + &service("a", TWO)));
    let running = Running::synced(folder.source());
    running
        .until_problems("told", |problems| problems.len() == 1 && problems[0].message.contains("in this file twice"));
    assert!(running.problems()[0].origin.ends_with("a.yaml:9"), "{:?}", running.problems());
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
    running.until_problems("mended", <[_]>::is_empty);
}

#[test]
fn one_document_of_many_changes() {
    let text = |ip: &str| {
        (0..100)
            .map(|n| format!("---\n{}", service(&format!("s-{n}"), if n == 50 { ip } else { "10.1.1.1" })))
            .collect::<String>()
    };
    let folder = Folder::with("a.yaml", &text(ONE));
    let running = Running::synced(folder.source());
    folder.write("a.yaml", &text(TWO));
    running.until_ip("s-50", Some(TWO));
    assert_eq!(running.events(), [Event::All(100), Event::Some(1)]);
    folder
        .write("a.yaml", &("# shifts every line\n".to_string() + &text(TWO).replacen("---\n", "---\n[torn\n---\n", 1)));
    running.until_problems("told with its line", |problems| problems.iter().any(|p| p.origin.ends_with("a.yaml:3")));
    assert_eq!(running.events().len(), 3, "no object changed");
}

#[test]
fn a_document_that_can_not_be_read_takes_nothing_away() {
    let folder = Folder::with("a.yaml", &(service("a", ONE) + "---\n" + &service("b", ONE)));
    let running = Running::synced(folder.source());
    folder.write("a.yaml", &(service("a", TWO) + "---\nkind: [\n"));
    assert_one_step(&running);
    assert_eq!(running.ip("b").as_deref(), Some(ONE), "it may be the one that is torn");
    folder.write("a.yaml", &service("a", TWO));
    running.until_ip("b", None);
}

#[test]
fn a_file_that_can_not_be_read_keeps_what_it_had() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    let huge = File::create(folder.above.path().join("huge")).unwrap();
    huge.set_len(257 << 20).unwrap();
    fs::rename(folder.above.path().join("huge"), folder.path("a.yaml")).unwrap();
    running.until_problems("told", |problems| problems.len() == 1 && problems[0].message.contains("256 MiB"));
    assert_eq!(running.ip("a").as_deref(), Some(ONE));
    fs::remove_file(folder.path("a.yaml")).unwrap();
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
    running.until_problems("mended", <[_]>::is_empty);
}

#[test]
fn a_named_pipe_does_not_block() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let status = std::process::Command::new("mkfifo").arg(folder.path("pipe.yaml")).status().unwrap();
    assert!(status.success());
    let running = Running::synced(folder.source());
    let status = std::process::Command::new("mkfifo").arg(folder.path("pipe2.yaml")).status().unwrap();
    assert!(status.success());
    folder.write("a.yaml", &service("a", TWO));
    assert_one_step(&running);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error_for_good() {
    let folder = Folder::with("a.yaml", "");
    let running = Running::start(Box::new(Files::new(folder.path("a.yaml"))));
    running.until_end();
    let error = running.stop().unwrap_err();
    assert!(error.to_string().contains("is no folder"), "{error}");
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_away_and_back() {
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    fs::rename(folder.dir(), folder.above.path().join("gone")).unwrap();
    running.until_event(Event::Away);
    let next = folder.above.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yaml"), service("a", TWO)).unwrap();
    fs::rename(next, folder.dir()).unwrap();
    assert_one_step(&running);
    let events = running.events();
    assert_eq!(&events[1..3], [Event::Away, Event::Back], "{events:?}");
}

#[test]
fn more_changes_than_the_kernel_keeps_are_found_by_a_listing() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let folder = Folder::with("a.yaml", &service("a", ONE));
    let running = Running::synced(folder.source());
    running.hold(true);
    folder.write("b.yaml", &service("b", ONE));
    // Two files in turn: events that are alike and follow each other are merged.
    for file in ["0.txt", "1.txt"] {
        folder.write(file, "");
    }
    for n in 0..=limit {
        let mode = fs::Permissions::from_mode(0o600 + (n as u32 / 2) % 2);
        fs::set_permissions(folder.path(&format!("{}.txt", n % 2)), mode).unwrap();
    }
    folder.write("c.yaml", &service("c", ONE));
    fs::remove_file(folder.path("a.yaml")).unwrap();
    running.hold(false);
    running.until_ip("c", Some(ONE));
    running.until_ip("a", None);
}
