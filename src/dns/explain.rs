//! `bowline dns explain`: which server block and plugins a question meets, and what each does to it.

use std::fmt::Write;

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
    let steps = asked.query.trace.map(|trace| trace.steps).unwrap_or_default();
    if steps.is_empty() {
        text.push_str("server block   none: no block's zone has the name\n");
    } else {
        writeln!(text, "server block   {} at {}", asked.query.zone, asked.query.block.place)?;
    }
    // Who would ask outside is the last one that was met.
    let is_asked_outside =
        steps.last().is_some_and(|(_, notes)| notes.iter().any(|note| note.starts_with("would ask")));
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
        Ok(None) if is_asked_outside => text.push_str(";; the answer is theirs; `bowline dns query` asks them\n"),
        Ok(None) => text.push_str(";; no answer: the question is dropped\n"),
        Err(failure) if failure.reason.is_empty() => writeln!(text, ";; {}", failure.rcode)?,
        Err(failure) => writeln!(text, ";; {}: {}", failure.rcode, failure.reason)?,
    }
    store::write(&text).map(|_| ())
}
