//! Is this kernel and machine fit for the dataplane: what is there, what is missing, what to do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::features::{FEATURES, features, kernel_version};
use crate::kernel::{Folder, KernelError, Sizes, load_programs, make_maps, path_error, verified_instructions};
use crate::packets::try_programs;
use crate::place::{BPFFS, Nowhere, find_cgroup_root, is_bpffs, is_cgroup};
use crate::records::OURS;

/// The oldest version of Linux that is tested, by `make kernels`.
const TESTED: (u32, u32) = (6, 1);

/// How a finding bears on the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// As it should be.
    Ok,
    /// The agent works, with a difference.
    Warn,
    /// The agent can't work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub fitness: Fitness,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing needs doing.
    pub todo: String,
}

fn finding(what: &'static str, fitness: Fitness, found: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { what, fitness, found: found.into(), todo: todo.into() }
}

/// Looks at the kernel and the machine. Changes nothing that stays.
pub fn check(cgroup: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![capabilities(), jit(), bpffs(), cgroups(cgroup)];
    // Without those nothing can be tried.
    let tried = findings.iter().all(|f| f.fitness != Fitness::Fail).then(load_all);
    let missing = features_missing();
    findings.insert(1, kernel(kernel_version(), &missing, tried.as_ref().map(|tried| tried.as_ref().map(|_| ()))));
    findings.extend(tried.map(|tried| programs(&tried, kernel_version())));
    findings
}

/// What this process may not do and the agent must.
pub fn missing_capabilities() -> Vec<&'static str> {
    // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON too, and is needed besides: it alone opens a program by its
    // id, which tells the maps of a link that an agent before this one has left.
    const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| mask >> bit & 1 == 0).map(|(_, name)| *name).collect()
}

fn capabilities() -> Finding {
    let missing = missing_capabilities();
    if missing.is_empty() {
        finding("capabilities", Fitness::Ok, "all that are needed", "")
    } else {
        let found = format!("missing {}", missing.join(", "));
        finding("capabilities", Fitness::Fail, found, "run it as root, or give it these")
    }
}

/// What is otherwise on this kernel, for what it doesn't have: a line for each.
fn features_missing() -> Vec<String> {
    let there = features();
    // A kernel without MPTCP has no connections by it either.
    let matters = |bit| bit != bowline_ebpf::features::MPTCP || Path::new("/proc/sys/net/mptcp").exists();
    let missing = FEATURES.iter().filter(|f| there & f.bit == 0 && matters(f.bit));
    missing.map(|f| format!("without {} (Linux {}.{}) {}", f.name, f.since.0, f.since.1, f.without)).collect()
}

/// What is said of the kernel once all was tried; None: it could not be.
fn kernel(version: (u32, u32), missing: &[String], tried: Option<Result<(), &KernelError>>) -> Finding {
    const WHAT: &str = "kernel";
    let found = format!("Linux {}.{}", version.0, version.1);
    let is_older = version < TESTED;
    let older = format!("Linux {}.{} is the oldest that is tested", TESTED.0, TESTED.1);
    match tried {
        None => finding(WHAT, Fitness::Warn, found + "; not tried, because of the rest", ""),
        Some(Err(_)) if is_older => {
            finding(WHAT, Fitness::Fail, found + ": too old", format!("{older}: take that or a later one"))
        }
        Some(Err(_)) => finding(WHAT, Fitness::Fail, found + ": it refuses what is needed", ""),
        Some(Ok(())) => {
            let mut todo = missing.to_vec();
            if is_older {
                todo.insert(0, format!("all is there, but {older}"));
            }
            let fitness = if todo.is_empty() { Fitness::Ok } else { Fitness::Warn };
            finding(WHAT, fitness, found, todo.join("; "))
        }
    }
}

fn jit() -> Finding {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default().trim() {
        "0" => finding(
            "bpf jit",
            Fitness::Warn,
            "off",
            "programs are interpreted, slowly: sysctl -w net.core.bpf_jit_enable=1",
        ),
        _ => finding("bpf jit", Fitness::Ok, "on", ""),
    }
}

fn bpffs() -> Finding {
    let at = Path::new(BPFFS);
    if is_bpffs(at) {
        finding("bpf file system", Fitness::Ok, format!("mounted at {BPFFS}"), "")
    } else if at.exists() {
        finding("bpf file system", Fitness::Ok, format!("not mounted; the agent mounts it at {BPFFS}"), "")
    } else {
        finding(
            "bpf file system",
            Fitness::Fail,
            format!("{BPFFS} is missing"),
            "mount sysfs, or name another place by --bpf-root",
        )
    }
}

fn cgroups(given: Option<&Path>) -> Finding {
    const WHAT: &str = "cgroup v2";
    match given {
        Some(path) if is_cgroup(path) => finding(WHAT, Fitness::Ok, format!("{} is on it", path.display()), ""),
        Some(path) => finding(
            WHAT,
            Fitness::Fail,
            format!("{} is not on the unified hierarchy", path.display()),
            "name a folder of the hierarchy that `mount -t cgroup2` lists",
        ),
        None => match find_cgroup_root() {
            Some(path) if fs::metadata(&path).is_ok_and(|m| m.ino() != 1) => finding(
                WHAT,
                Fitness::Warn,
                format!("{} is not the top of the hierarchy", path.display()),
                "in a container with a cgroup namespace only that container is served; run it with the host's \
                 (docker: --cgroupns=host), or name the folder by --cgroup-root",
            ),
            Some(path) => finding(WHAT, Fitness::Ok, format!("unified hierarchy at {}", path.display()), ""),
            None => finding(
                WHAT,
                Fitness::Fail,
                "not mounted",
                "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified (or boot with systemd.unified_cgroup_hierarchy=1)",
            ),
        },
    }
}

/// Loads all that an agent ever loads, attaches nothing, and pins where nothing stays: the programs, and those
/// of a migration, which read the maps of another layout too, and those for packets. Returns how much the verifier went through.
fn load_all() -> Result<BTreeMap<&'static str, u32>, KernelError> {
    let place = Nowhere::new().map_err(path_error(Path::new("a bpf file system"), "making one"))?;
    let [maps, elsewhere, packets] = ["maps", "elsewhere", "packets"].map(|name| Folder(place.path().join(name)));
    let sizes = Sizes { frontends: 16, services: 16, backends: 16, slots: 1024, sockets: 16, affinity: 16 };
    make_maps(&maps, &sizes)?;
    make_maps(&elsewhere, &sizes)?;
    let alone = load_programs(&maps, &sizes, None)?;
    let both = load_programs(&maps, &sizes, Some((&elsewhere, &OURS)))?;
    let mut counts = verified_instructions(&both);
    for (hook, count) in verified_instructions(&alone) {
        counts.entry(hook).and_modify(|most| *most = count.max(*most)).or_insert(count);
    }
    counts.extend(try_programs(&packets)?);
    Ok(counts)
}

fn programs(tried: &Result<BTreeMap<&'static str, u32>, KernelError>, version: (u32, u32)) -> Finding {
    const WHAT: &str = "programs";
    match tried {
        Ok(counts) => {
            let most = counts.iter().max_by_key(|(_, n)| **n);
            let most = most.map_or(String::new(), |(hook, n)| format!("; most for {hook}: {n} of 1,000,000"));
            let found = format!("all {} pass the verifier, those of a migration too{most}", counts.len());
            finding(WHAT, Fitness::Ok, found, "")
        }
        Err(error) => {
            let is_unknown = version >= TESTED && matches!(error, KernelError::Program { .. });
            let todo = if is_unknown { "report it with the kernel's version and the log of the verifier" } else { "" };
            finding(WHAT, Fitness::Fail, error.to_string(), todo)
        }
    }
}

#[cfg(test)]
mod tests;
