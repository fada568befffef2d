//! `bowline dns explain`: which server block and plugins a question meets, and what each does to it.

use std::fmt::Write;

use bowline_dns::plugin::Trace;
use clap::Args;

use super::query::{AskArgs, dig};
use crate::store;

/// Arguments of `dns explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    ask: AskArgs,
}

/// Prints the way of the question.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let asked = args.ask.ask(true)?;
    let mut text = format!("asked          {}\n", asked.server.address);
    let Trace { steps, would_ask, .. } = asked.query.trace.unwrap_or_default();
    if steps.is_empty() {
        text.push_str("server block   none: no block's zone has the name\n");
    } else {
        writeln!(text, "server block   {} at {}", asked.query.zone, asked.query.block.place)?;
    }
    for (plugin, notes) in steps {
        let mut notes = notes.iter();
        writeln!(text, "  {plugin:<12} {}", notes.next().map_or("passes it on", String::as_str))?;
        for note in notes {
            writeln!(text, "  {:<12} {note}", "")?;
        }
    }
    text.push('\n');
    match asked.outcome {
        Ok(Some(mut reply)) => text.push_str(&dig(reply.message()?)?),
        Ok(None) => match would_ask {
            Some(whom) => writeln!(text, ";; it would be forwarded to {whom}; `bowline dns query` asks them")?,
            None => text.push_str(";; no answer: the question is dropped\n"),
        },
        Err(failure) if failure.reason.is_empty() => writeln!(text, ";; {}", failure.rcode)?,
        Err(failure) => writeln!(text, ";; {}: {}", failure.rcode, failure.reason)?,
    }
    store::write(&text).map(|_| ())
}
