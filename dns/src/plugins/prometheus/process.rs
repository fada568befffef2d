//! What the process uses, as Prometheus' standard collector names it. Read from /proc (proc_pid_stat(5) and others)
//! when the page is asked for; what can't be read is left out.

use std::fmt::Write as _;
use std::fs;

struct Value {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    value: f64,
}

/// The last part of the page.
pub(super) fn page() -> String {
    let mut page = String::new();
    for Value { name, help, kind, value } in values() {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    page
}

/// The values, in the order of their names.
fn values() -> Vec<Value> {
    let mut values = Vec::new();
    let mut put = |name, help, kind, value: Option<f64>| {
        values.extend(value.map(|value| Value { name, help, kind, value }));
    };
    let stat = stat().unwrap_or_default();
    // Fields as proc_pid_stat(5) numbers them, from 3 on.
    let field = |number: usize| stat.get(number - 3).copied();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page_size = rustix::param::page_size() as f64;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let traffic = traffic().unwrap_or_default();
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    put("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter", cpu);
    let most = limit(&limits, "Max open files");
    put("process_max_fds", "Maximum number of open file descriptors.", "gauge", most);
    let received = traffic.iter().find(|(name, _)| name == "InOctets").map(|(_, value)| *value);
    let help = "Number of bytes received by the process over the network.";
    put("process_network_receive_bytes_total", help, "counter", received);
    let sent = traffic.iter().find(|(name, _)| name == "OutOctets").map(|(_, value)| *value);
    let help = "Number of bytes sent by the process over the network.";
    put("process_network_transmit_bytes_total", help, "counter", sent);
    // The folder that is read is open itself.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64);
    put("process_open_fds", "Number of open file descriptors.", "gauge", open);
    let resident = field(24).map(|pages| pages * page_size);
    put("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", resident);
    let started = field(22).zip(booted()).map(|(after, booted)| booted + after / ticks);
    put("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge", started);
    put("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", field(23));
    let most = limit(&limits, "Max address space");
    let help = "Maximum amount of virtual memory available in bytes.";
    put("process_virtual_memory_max_bytes", help, "gauge", most);
    values
}

/// The numbers of /proc/self/stat behind the command's name, which may hold spaces and brackets itself. The state, a
/// letter, stands as 0.
fn stat() -> Option<Vec<f64>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
}

/// The soft limit of that name; without one the largest number, as Go's client has it.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let value = limits.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?;
    if value == "unlimited" { Some(u64::MAX as f64) } else { value.parse().ok() }
}

/// When the machine started, in seconds since 1970.
fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The counts of IP of the process's network namespace: a line of names, then one of values.
fn traffic() -> Option<Vec<(String, f64)>> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let values = values.split_ascii_whitespace().map(|value| value.parse().unwrap_or(0.0));
    Some(names.split_ascii_whitespace().map(str::to_owned).zip(values).collect())
}
