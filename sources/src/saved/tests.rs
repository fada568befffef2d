//! The snapshot on disk: what was saved is what is read, or nothing is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::manifest::generate;
use bowline_cluster::follow::Changed;
use bowline_cluster::object::{Labels, ObjectKey, ObjectName, Service, Str};
use bowline_cluster::source::{Origin, Problem, Update};
use bowline_cluster::state::{Options, State};

mod refused;

const SOURCE: &str = "files:/etc/bowline";
const DAY: Duration = Duration::from_secs(86_400);

fn state(complete: bool) -> State {
    // So few addresses that names meet, and Services go without one of their families.
    let service_cidrs = ["10.0.0.0/29", "fd00::/125"].iter().map(|range| range.parse().unwrap()).collect();
    State::new(Options { service_cidrs, complete })
}

fn all(objects: impl IntoIterator<Item = Object>) -> Update {
    Update::All(objects.into_iter().map(|object| Change::Put(object, Origin::from("test.yaml"))).collect())
}

/// Each part of a snapshot, to compare it by.
fn parts(s: Snapshot) -> impl PartialEq + std::fmt::Debug {
    let kept = (s.nodes, s.namespaces, s.network_policies, s.service_imports, s.service_cidrs);
    (s.services, s.lost, s.slices, s.imported, s.pods, s.told_pods, kept)
}

/// Objects that have to do with each other: few names, few labels, few addresses.
fn world() -> impl Strategy<Value = Vec<Object>> {
    let addresses = prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec!["10.0.0.2"]),
        1 => Just(vec!["fd00::3"]),
        1 => Just(vec!["192.0.2.1", "fd00::2"]),
    ];
    let service = (generate::service(), 0..9_u8, 0..3_u8, addresses, 0..3_i64).prop_map(
        |(service, name, app, addresses, created)| {
            let is_bare = !service.has_cluster_ip();
            Object::Service(Arc::new(Service {
                name: small("s", name),
                cluster_ips: if is_bare { vec![] } else { addresses.iter().map(|ip| ip.parse().unwrap()).collect() },
                families: if addresses.is_empty() { service.families.clone() } else { vec![] },
                selector: service.selector.as_ref().map(|_| labels(app)),
                created: Some(created),
                ..service
            }))
        },
    );
    let slice = (generate::slice(), 0..3_u8, 0..9_u8).prop_map(|(mut slice, name, service)| {
        slice.name = small("e", name);
        slice.service = slice.service.map(|_| small("s", service).name);
        let mut labels: BTreeMap<Str, Str> = slice.labels.into_iter().collect();
        if let Some(service) = &slice.service {
            labels.insert(Str::from("kubernetes.io/service-name"), service.clone());
        }
        if service > 5 {
            labels.insert(Str::from("multicluster.kubernetes.io/service-name"), small("s", service).name);
        }
        slice.labels = labels.into_iter().collect();
        Object::EndpointSlice(Arc::new(slice))
    });
    let pod = (generate::pod(), 0..9_u8, 0..3_u8).prop_map(|(mut pod, name, app)| {
        (pod.name, pod.labels) = (small("p", name), labels(app));
        Object::Pod(Arc::new(pod))
    });
    let object = prop_oneof![4 => service, 1 => slice, 3 => pod, 2 => generate::object()];
    // Of two with the same name, one.
    proptest::collection::vec(object, 0..25).prop_map(|objects| {
        let by_key: BTreeMap<ObjectKey, Object> = objects.into_iter().map(|object| (object.key(), object)).collect();
        by_key.into_values().collect()
    })
}

fn small(prefix: &str, n: u8) -> ObjectName {
    ObjectName { namespace: Str::from("shop"), name: Str::from(format!("{prefix}{n}")) }
}

fn labels(app: u8) -> Labels {
    [(Str::from("app"), Str::from(app.to_string()))].into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_start_from_it_changes_nothing_once_the_source_is_there(objects in world(), complete in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        let mut before = state(complete);
        before.apply(all(objects.clone()));
        write(&path, SOURCE, &before.snapshot()).unwrap();

        let loaded = read(&path, SOURCE, DAY).unwrap().unwrap();
        let mut after = state(complete);
        after.apply(Update::All(loaded.changes));
        prop_assert_eq!(parts(after.snapshot()), parts(before.snapshot()));

        let applied = after.apply(all(objects));
        prop_assert!(applied.changed == Changed::default(), "{:?}", applied);
        prop_assert_eq!(parts(after.snapshot()), parts(before.snapshot()));
        prop_assert_eq!(after.problems(), before.problems());
    }
}

/// A folder with the snapshot of two Services, and its path.
fn saved() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    write(&path, SOURCE, &two().snapshot()).unwrap();
    (folder, path)
}

fn two() -> State {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}\n---\n\
                {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {clusterIP: None}}\n";
    let manifest = crate::parse::manifest("two.yaml", text.as_bytes(), &bowline_cluster::intern::Strings::default());
    let mut state = state(true);
    state.apply(all(manifest.objects));
    state
}

#[test]
fn the_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    let (folder, path) = saved();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    // One that an agent left which was killed.
    fs::write(folder.path().join(".snapshot.new"), "half").unwrap();
    let bytes = write(&path, SOURCE, &two().snapshot()).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn objects_come_with_the_line_they_stand_on() {
    let (_folder, path) = saved();
    let loaded = read(&path, SOURCE, DAY).unwrap().unwrap();
    let found: Vec<_> = loaded
        .changes
        .iter()
        .map(|change| match change {
            Change::Put(object, origin) => format!("{origin} {}", object.key()),
            Change::Delete(key) => panic!("{key}"),
        })
        .collect();
    let path = path.display();
    // With the Namespace that they imply: until the source is read, it is there too.
    let wanted = ["2 Namespace default", "3 Service default/a", "4 Service default/b"];
    assert_eq!(found, wanted.map(|object| format!("{path}:{object}")));
    assert!(loaded.saved.starts_with("20") && loaded.saved.ends_with('Z'), "{}", loaded.saved);
    assert!(loaded.age < DAY);
}

#[test]
fn age_counts_from_the_last_touch() {
    let (_folder, path) = saved();
    let set = |time: SystemTime| File::open(&path).unwrap().set_modified(time).unwrap();
    let now = SystemTime::now();
    set(now - 2 * DAY);
    assert!(read(&path, SOURCE, DAY).unwrap_err().message.contains(" old, and may be no older than 24h"));
    assert!(read(&path, SOURCE, 3 * DAY).unwrap().unwrap().age >= 2 * DAY);
    touch(&path).unwrap();
    assert!(read(&path, SOURCE, DAY).unwrap().unwrap().age < DAY);
    set(now + DAY);
    assert_eq!(read(&path, SOURCE, Duration::ZERO).unwrap().unwrap().age, Duration::ZERO);
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_the_old_one() {
    let (folder, path) = saved();
    let before = fs::read(&path).unwrap();
    let nowhere = folder.path().join("missing/snapshot");
    let told = write(&nowhere, SOURCE, &two().snapshot()).unwrap_err().to_string();
    assert!(told.starts_with(&format!("the snapshot {} can't be written: ", nowhere.display())), "{told}");
    assert!(touch(&nowhere).unwrap_err().to_string().contains("can't be marked as current"));
    // A folder in its place can't be replaced by a file.
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("in")).unwrap();
    assert!(write(&taken, SOURCE, &two().snapshot()).is_err());
    assert!(write(Path::new("/"), SOURCE, &two().snapshot()).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn more_than_would_be_read_again_is_not_written() {
    let add = |sealing: &mut Sealing<io::Sink>, bytes: usize| {
        let written = sealing.line(|line| {
            line.resize(bytes, b'x');
            Ok(())
        });
        written.map_err(|error| error.kind())
    };
    // Each with its end of line.
    assert_eq!(add(&mut Sealing::new(io::sink()), MAX_PIECE), Err(io::ErrorKind::FileTooLarge));
    let mut sealing = Sealing::new(io::sink());
    for _ in 0..MAX_FILE / MAX_PIECE {
        add(&mut sealing, MAX_PIECE - 1).unwrap();
    }
    assert_eq!(add(&mut sealing, 0), Err(io::ErrorKind::FileTooLarge));
}
