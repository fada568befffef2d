//! Hosts on one machine, for tests and benches.
//!
//! A [`Lab`] holds nodes; a [`Node`] is a network namespace and a cgroup, as a real one is to an agent
//! that attaches to the node's cgroup; a [`Pod`] is a network namespace, and a cgroup below its node's.
//! Pods reach each other over both families, through their nodes. Everything that a lab made goes with
//! it, after a panic too; what a killed run left is removed by the next one ([`Lab::sweep`]).
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use bowline_lab::{Lab, Storm, StormArgs};
//! let lab = Lab::new("example")?;
//! let node = lab.node("worker-1")?;
//! let (web, client) = (node.pod("web-1")?, node.pod("client")?);
//! let _server = web.serve("web-1", &[web.address(80)], &[])?;
//! let storm = Storm::start(&client, &StormArgs::new().target(web.address(80), "web"))?;
//! storm.wait_for_more(1000)?;
//! assert_eq!(storm.finish()?.failed, 0);
//! # Ok(()) }
//! ```

mod drive;
mod host;
pub mod kubernetes;
mod lab;
mod remove;

use std::time::{Duration, Instant};

pub use drive::{Count, Failure, Mode, Report, Storm, StormArgs, cni_plugin, lab_net};
pub use host::{Host, Node, Pod, Process};
pub use lab::Lab;

/// How much of something a long test does: `whole` in `make test-long`, which sets BOWLINE_TEST_LONG, else `short`.
/// Both do the same; a short run finds what fails often, a whole one what fails seldom.
pub fn amount<T>(whole: T, short: T) -> T {
    if std::env::var_os("BOWLINE_TEST_LONG").is_some() { whole } else { short }
}

/// Waits until `cond` holds. The error names what was awaited; the deadline is for a defect, not for a
/// slow machine: give it generously.
pub fn wait_for(what: &str, deadline: Duration, mut cond: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !cond() {
        anyhow::ensure!(began.elapsed() < deadline, "waited {} s in vain for: {what}", deadline.as_secs());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
