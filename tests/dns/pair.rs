//! CoreDNS and `bowline dns` beside each other, under the same Corefile.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bowline_dns::wire::{Rcode, Type};
use bowline_lab::kubernetes::{Server, binary};

use crate::ask::{self, Ask};
use crate::case::Case;
use crate::client;
use crate::ground::{Ground, port};

/// A server under test.
pub(crate) struct Tested {
    pub(crate) server: Server,
    pub(crate) port: u16,
    /// Where its pages are: `prometheus`, `health` and `ready`.
    pub(crate) metrics: String,
    pub(crate) health: String,
    pub(crate) ready: String,
}

/// Both.
pub(crate) struct Pair {
    pub(crate) ours: Tested,
    pub(crate) theirs: Tested,
}

impl Pair {
    /// Starts both under a Corefile, and waits until both know the cluster.
    ///
    /// # Errors
    /// One of them refuses the Corefile, or never answers the probe.
    pub(crate) fn start(ground: &Ground, case: &Case) -> anyhow::Result<Pair> {
        let folder = ground.place.folder(&case.name).unwrap();
        let corefile = folder.join("Corefile");
        std::fs::write(&corefile, &case.text).unwrap();
        let theirs = vec![binary("coredns").unwrap().into_os_string()];
        let ours = match std::env::var("BOWLINE_DNS_PEER") {
            // To see that the comparison itself finds nothing where there is nothing.
            Ok(peer) if peer == "coredns" => theirs.clone(),
            Ok(bowline) => vec![bowline.into(), "dns".into()],
            Err(_) => vec![env!("CARGO_BIN_EXE_bowline").into(), "dns".into()],
        };
        let [ours, theirs] = [("ours", ours), ("theirs", theirs)].map(|(name, words)| {
            let port = port();
            let page = || format!("127.0.0.1:{}", crate::ground::port());
            let mut tested = Tested {
                server: Server::new(format!("{name} under {}", case.name), folder.join(name)),
                port,
                metrics: page(),
                health: page(),
                ready: page(),
            };
            let mut command = ground.place.command(PathBuf::from(&words[0]));
            command.args(&words[1..]).arg("-conf").arg(&corefile).arg(format!("-dns.port={port}"));
            command.envs(ground.environment()).current_dir(&folder);
            command.env("METRICS", &tested.metrics).env("HEALTH", &tested.health).env("READY", &tested.ready);
            tested.server.start(&mut command).unwrap();
            tested
        });
        let mut pair = Pair { ours, theirs };
        let rtype: Type = case.probe.1.parse().unwrap();
        let probe = Ask::plain(&case.probe.0, rtype);
        for tested in [&mut pair.theirs, &mut pair.ours] {
            let port = tested.port;
            let answers = || {
                let answer = client::ask_once(port, &probe, Duration::from_millis(300));
                ask::rcode(answer.as_ref()).is_some_and(|rcode| rcode != Rcode::SERVFAIL)
            };
            tested.server.wait_until("it answers the probe", answers)?;
        }
        Ok(pair)
    }

    /// Asks both all of it; the answers of ours and of theirs, or none that come within `patience`.
    pub(crate) fn ask(&self, asks: &[Ask], patience: Duration) -> [Vec<Option<Vec<u8>>>; 2] {
        thread::scope(|scope| {
            let [ours, theirs] =
                [&self.ours, &self.theirs].map(|one| scope.spawn(|| client::ask(one.port, asks, patience)));
            [ours.join().unwrap(), theirs.join().unwrap()]
        })
    }

    /// SIGTERM for both, and waits for their ends.
    pub(crate) fn stop(mut self) {
        self.ours.server.stop().unwrap();
        self.theirs.server.stop().unwrap();
    }
}
