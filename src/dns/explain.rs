//! `bowline dns explain`: which server block and plugins a question meets, and what each does to it.

use clap::Args;

use super::query::{AskArgs, print_message};

/// Arguments of `dns explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    ask: AskArgs,
}

/// Prints the way of the question.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let asked = args.ask.ask(true)?;
    println!("asked          {}", asked.server.address);
    let steps = asked.query.trace.map(|trace| trace.steps).unwrap_or_default();
    if steps.is_empty() {
        println!("server block   none: no block's zone has the name");
    } else {
        println!("server block   {} at {}", asked.query.zone, asked.query.block.place);
    }
    for (plugin, notes) in steps {
        let mut notes = notes.iter();
        println!("  {plugin:<12} {}", notes.next().map_or("passes it on", String::as_str));
        notes.for_each(|note| println!("  {:<12} {note}", ""));
    }
    println!();
    match asked.outcome {
        Ok(Some(mut reply)) => print_message(reply.message()?),
        Ok(None) => println!(";; no answer: the question is dropped"),
        Err(failure) if failure.reason.is_empty() => println!(";; {}", failure.rcode),
        Err(failure) => println!(";; {}: {}", failure.rcode, failure.reason),
    }
    Ok(())
}
