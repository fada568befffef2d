//! Is this kernel and machine fit for the dataplane: what is there, what is missing, what to do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::kernel::{Folder, Sizes, kernel_version, load_programs, make_maps, verified_instructions};
use crate::place::{BPFFS, find_cgroup_root, is_bpffs, is_cgroup};

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
    let mut findings = vec![capabilities(), kernel(), jit(), bpffs(), cgroups(cgroup)];
    if findings.iter().all(|f| f.fitness != Fitness::Fail) {
        findings.push(programs());
    }
    findings
}

fn capabilities() -> Finding {
    // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON too, and is needed besides: it alone opens a program by its
    // id, which tells the maps of a link that an agent before this one has left.
    const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<&str> = NEEDED.iter().filter(|(bit, _)| mask >> bit & 1 == 0).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        finding("capabilities", Fitness::Ok, "all that are needed", "")
    } else {
        let found = format!("missing {}", missing.join(", "));
        finding("capabilities", Fitness::Fail, found, "run it as root, or give it these")
    }
}

fn kernel() -> Finding {
    let (major, minor) = kernel_version();
    let found = format!("Linux {major}.{minor}");
    match (major, minor) {
        v if v < (5, 12) => {
            finding("kernel", Fitness::Fail, found, "5.12 or later is needed (atomic exchange in programs)")
        }
        v if v < (5, 18) => finding(
            "kernel",
            Fitness::Warn,
            found,
            "before 5.18 (no bpf_set_retval) a connection to a Service without endpoints fails with EPERM, not \
             ECONNREFUSED, and (no bpf_loop, 5.17) a UDP socket that used more than 16 VIPs leaves entries behind",
        ),
        _ => finding("kernel", Fitness::Ok, found, ""),
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

/// Loads everything, attaches nothing, and takes it away again.
fn programs() -> Finding {
    const WHAT: &str = "programs";
    let root = Path::new(BPFFS).join(format!("bowline-check-{}", std::process::id()));
    let folder = Folder(root.join("maps"));
    let sizes = Sizes { frontends: 16, services: 16, backends: 16, slots: 1024, sockets: 16, affinity: 16 };
    if let Err(error) = crate::place::make_root(&root) {
        return finding(WHAT, Fitness::Fail, error.to_string(), "see above");
    }
    let loaded = make_maps(&folder, &sizes).and_then(|()| load_programs(&folder, &sizes, None));
    let result = match &loaded {
        Ok(object) => {
            let counts = verified_instructions(object);
            let most = counts
                .iter()
                .max_by_key(|(_, n)| **n)
                .map_or(String::new(), |(hook, n)| format!("; most for {hook}: {n} of 1,000,000"));
            finding(WHAT, Fitness::Ok, format!("all {} pass the verifier{most}", counts.len()), "")
        }
        Err(error) => finding(WHAT, Fitness::Fail, error.to_string(), "report it with the kernel's version"),
    };
    drop(loaded);
    let _ = folder.remove();
    let _ = fs::remove_dir(&root);
    result
}
