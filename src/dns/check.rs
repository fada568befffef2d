//! `bowline dns check`: whether a Corefile would serve.

use clap::Args;

use super::look::LookArgs;
use crate::store;
use crate::table::render;
use bowline_agent::log;

/// Arguments of `dns check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// Prints what would listen where, or fails with file, line, directive and reason.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    // Plugins say there what they doubt of certificates.
    log::start(log::Format::Text, 0);
    let look = args.look.open()?;
    let instance = look.build()?;
    let state = args.look.conf.state(&look.corefile)?;
    let troubles = state.map_or_else(Vec::new, |state| state.troubles());
    let all = look.corefile.warnings.iter().map(ToString::to_string).chain(troubles);
    let warnings: String = all.map(|warning| format!("warning: {warning}\n")).collect();
    let mut rows = Vec::new();
    for (address, server) in instance.servers() {
        let mut blocks: Vec<_> = server.blocks().collect();
        blocks.sort_by_key(|(zone, _)| (*zone).clone());
        for (zone, block) in blocks {
            let plugins: Vec<_> = block.plugins.iter().map(|plugin| plugin.name()).collect();
            rows.push(vec![address.to_string(), zone.to_string(), block.place.clone(), plugins.join(" ")]);
        }
    }
    let table = render(&["LISTENS AT", "ZONE", "BLOCK", "PLUGINS, IN ORDER"], &rows);
    store::write(&format!("{warnings}{table}\n{} would serve.\n", args.look.conf.conf.display())).map(|_| ())
}
