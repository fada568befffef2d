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
    Sweep,
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
        Cmd::Sweep => bowline_lab::Lab::sweep(),
    }
}
