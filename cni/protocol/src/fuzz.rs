//! What the fuzzers call.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::Value;

use crate::{CniResult, Environment, NetConf, Version};

/// Any bytes as a configuration on standard input.
///
/// # Panics
/// Never, or there is a defect: what it checks is that a configuration that was read means the same when it comes to the
/// agent, and so does a result in each version that has room for it.
pub fn input(bytes: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Ok(read) = NetConf::from_json(&json) {
        let there = serde_json::to_value(&read).ok().map(|json| NetConf::from_json(&json));
        assert_eq!(there, Some(Ok(read.clone())), "the agent gets another configuration");
        assert!(NetConf::for_removal(&json).is_ok(), "what ADD takes DEL takes");
    }
    for json in [Some(&json), json.get("prevResult"), json.get("result")].into_iter().flatten() {
        let Ok(result) = CniResult::from_json(json, "") else { continue };
        for version in Version::ALL {
            let printed = result.to_version(version);
            let read = CniResult::from_json(&printed, "");
            let again = read.as_ref().map(|read| read.to_version(version));
            assert_eq!(again, Ok(printed), "a result of {version} is printed otherwise the second time");
            if version == Version::NEWEST {
                assert_eq!(read.as_ref(), Ok(&result), "the newest version has room for all");
            }
        }
    }
}

/// Any bytes as variables: `NAME=VALUE`, each ended by a zero byte.
///
/// # Panics
/// Never, or there is a defect: what passes the checks can be a file's name, and a refusal says of which variable.
pub fn environment(bytes: &[u8]) {
    let mut variables = bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    });
    let variables: std::collections::BTreeMap<_, _> = variables.by_ref().collect();
    let get = |name: &str| variables.get(name.as_bytes()).map(|value| OsString::from_vec(value.to_vec()));
    match Environment::read(get) {
        Ok(Some(environment)) => {
            for text in [&environment.container_id, &environment.ifname] {
                assert!(!text.contains(['/', '\0', ':']) && text != "." && text != "..", "{text:?}");
            }
        }
        Ok(None) => {}
        Err(error) => assert!(error.msg.contains("CNI_"), "{error}"),
    }
}
