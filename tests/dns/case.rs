//! A Corefile of `corefiles/`, and what its first lines say of how it is asked.
//!
//! ```text
//! #! zones cluster.local         zones in which the names of the objects are asked
//! #! external example.net        zones of k8s_external
//! #! names www.example.org ...   more names
//! #! zonefile example.org.zone   the names of a file of data/
//! #! transfer example.org ...    zones to copy
//! #! probe NAME TYPE             answered with something else than SERVFAIL when it is ready
//! #! ordered                     records come in the same order always
//! #! cached                      TTLs count down
//! #! questions 2000              how many
//! ```

use std::fs;
use std::path::Path;

/// A Corefile and how to ask it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) zones: Vec<String>,
    pub(crate) external: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) transfers: Vec<String>,
    pub(crate) probe: (String, String),
    pub(crate) is_ordered: bool,
    pub(crate) is_cached: bool,
    pub(crate) questions: usize,
}

impl Case {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Case {
        let text = fs::read_to_string(path).unwrap();
        let mut case = Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            probe: ("kubernetes.default.svc.cluster.local".to_owned(), "A".to_owned()),
            questions: 2000,
            ..Case::default()
        };
        for line in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
            let mut words = line.split_whitespace().map(str::to_owned);
            let key = words.next().unwrap_or_default();
            let mut one = || words.next().unwrap();
            match key.as_str() {
                "zones" => case.zones.extend(words),
                "external" => case.external.extend(words),
                "names" => case.names.extend(words),
                "zonefile" => case.names.extend(names_of(&crate::ground::data().join(one()))),
                "transfer" => case.transfers.extend(words),
                "probe" => case.probe = (one(), one()),
                "ordered" => case.is_ordered = true,
                "cached" => case.is_cached = true,
                "questions" => case.questions = one().parse().unwrap(),
                other => panic!("{}: #! {other} means nothing", path.display()),
            }
        }
        case.text = text;
        case
    }

    /// All of them, by their names; `BOWLINE_DNS_ONLY` leaves those that contain one of its words.
    pub(crate) fn all() -> Vec<Case> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dns/corefiles");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let only = std::env::var("BOWLINE_DNS_ONLY").unwrap_or_default();
        let cases = paths.iter().map(|path| Case::read(path));
        cases.filter(|case| only.is_empty() || only.split_whitespace().any(|word| case.name.contains(word))).collect()
    }
}

/// The owners in a zone file that begins with $ORIGIN.
fn names_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let origin = text.lines().find_map(|line| line.strip_prefix("$ORIGIN ")).unwrap().trim_end_matches('.').to_owned();
    let owners = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric() || "_*@".contains(c)));
    let owners = owners.map(|line| line.split_whitespace().next().unwrap_or_default());
    owners.map(|owner| if owner == "@" { origin.clone() } else { format!("{owner}.{origin}") }).collect()
}
