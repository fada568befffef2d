//! `bowline dns check`: whether a Corefile would serve.

use std::sync::Arc;

use bowline_dns::feed::Feed;
use bowline_dns::server::Services;
use clap::Args;

use super::ConfArgs;
use crate::table::render;

/// Arguments of `dns check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    conf: ConfArgs,
}

/// Prints what would listen where, or fails with file, line, directive and reason.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let settings = args.conf.settings(1);
    let corefile = settings.read()?;
    for warning in &corefile.warnings {
        println!("warning: {warning}");
    }
    let services = Arc::new(Services::new(Arc::new(Feed::default()), Vec::new(), env!("CARGO_PKG_VERSION")));
    let instance = settings.build(&services)?;
    let mut rows = Vec::new();
    for (address, server) in instance.servers() {
        let mut blocks: Vec<_> = server.blocks().collect();
        blocks.sort_by_key(|(zone, _)| (*zone).clone());
        for (zone, block) in blocks {
            let plugins: Vec<_> = block.plugins.iter().map(|plugin| plugin.name()).collect();
            rows.push(vec![address.to_string(), zone.to_string(), block.place.clone(), plugins.join(" ")]);
        }
    }
    print!("{}", render(&["LISTENS AT", "ZONE", "BLOCK", "PLUGINS, IN ORDER"], &rows));
    println!("\n{} would serve.", args.conf.conf.display());
    Ok(())
}
