//! The command `bowline`: arguments in, library called.

// They panic where nobody reads any more: `log::tell` and `store::write` don't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod apply;
mod check;
mod cli;
mod delete;
mod diff;
mod dns;
mod get;
mod node;
mod node_local;
mod node_object;
mod pod_network;
mod root;
mod states;
mod store;
mod table;

use std::process::ExitCode;

use bowline_agent::log;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use store::{say, write};

fn main() -> ExitCode {
    let cli = Cli::parse_from(dns::with_two_dashes(std::env::args_os()));
    let result = match cli.command {
        Command::Node(args) => node::run(&args),
        Command::Dns(args) => dns::run(*args),
        Command::Apply(args) => apply::run(&args),
        Command::Delete(args) => delete::run(&args),
        Command::Diff(args) => return diff::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Check(args) => match check::run(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Cleanup(args) => cleanup(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bowline", &mut text);
            write(&String::from_utf8_lossy(&text)).map(drop)
        }
        Command::Man => man(),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::tell(&format!("bowline: {error:#}"));
            ExitCode::FAILURE
        }
    };
    log::end();
    code
}

fn man() -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    write(&String::from_utf8_lossy(&text)).map(drop)
}

fn cleanup(args: &cli::CleanupArgs) -> anyhow::Result<()> {
    root::need("cleanup", "takes programs and maps out of the kernel")?;
    let place = &args.place;
    let root = place.bpf_root();
    // What is pinned is found without it: it may be gone.
    let cgroup = place.cgroup_root().ok();
    let removed = bowline_dataplane::cleanup::cleanup(cgroup.as_deref(), &root)?;
    let interfaces = bowline_agent::node_local::interface::remove(&root)?;
    let mut of_pods = Vec::new();
    bowline_cni::cleanup::cleanup(&args.attached.cni_state_dir, |done| of_pods.push(done));
    if removed.paths.is_empty() && interfaces.is_empty() && of_pods.is_empty() {
        say(&format!("nothing was installed at {}", root.display()))?;
    }
    for path in removed.paths {
        say(&format!("removed {}", path.display()))?;
    }
    for interface in interfaces {
        say(&format!("removed interface {interface}"))?;
    }
    let mut failed = None;
    for done in of_pods {
        match done {
            Ok(what) => say(&format!("removed {what}"))?,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), |error| Err(anyhow::anyhow!(error)))
}
