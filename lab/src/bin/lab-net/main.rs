//! `bowline-lab-net`: what runs in the hosts of tests and benches: servers that say who they are, and
//! clients that print what they saw, one JSON object a line.

mod ask;
mod history;
mod serve;
mod socket;
mod storm;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Servers and clients for the hosts of a lab")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Answer every line (TCP) with `ID peer` and every datagram (UDP) with `ID payload`; says `ready` first
    Serve(serve::Args),
    /// Connect without pause and check every answer, until the input ends
    Storm(storm::Args),
    /// Connect, exchange one line, print who answered
    Connect(ask::ConnectArgs),
    /// Connect and print getpeername and getsockname
    Peer(ask::PeerArgs),
    /// Ask targets in turn from one UDP socket
    Udp(ask::UdpArgs),
    /// Connect one socket to one target after the other
    Reconnect(ask::ReconnectArgs),
    /// HTTP GET: print the body; fails unless the status is 200
    Http(ask::HttpArgs),
    /// Remove what labs left whose processes are dead
    Sweep {
        /// Wait for the end of this process first
        #[arg(long, value_name = "PID")]
        after: Option<u32>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Cmd::Serve(args) => serve::run(&args),
        Cmd::Storm(args) => storm::run(args),
        Cmd::Connect(args) => ask::connect(&args),
        Cmd::Peer(args) => ask::peer(&args),
        Cmd::Udp(args) => ask::udp(&args),
        Cmd::Reconnect(args) => ask::reconnect(&args),
        Cmd::Http(args) => ask::http(&args),
        Cmd::Sweep { after } => sweep(after),
    }
}

fn sweep(after: Option<u32>) -> anyhow::Result<()> {
    if let Some(pid) = after {
        // It has our input's other end, which is closed at its end, however that comes; then its parent waits for it.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        let process = format!("/proc/{pid}");
        let gone = || !std::path::Path::new(&process).exists();
        bowline_lab::wait_for(&format!("the end of process {pid}"), std::time::Duration::from_secs(60), gone)?;
    }
    bowline_lab::Lab::sweep()
}
