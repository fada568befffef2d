//! Rows "in order": forwarding by TCP and TLS to a server that answers each connection's questions in order, as many do,
//! while one name in twenty is slow. What that costs the others is what is measured.
//!
//! ```text
//! load ── UDP ─> Bowline | the build beside | CoreDNS ── TCP, TLS ─> in-order
//! CPU 1          CPU 0                                               CPU 1
//! ```

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Authority, Place, Server};
use clap::Args;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::compare::{Demand, in_turns, middle};
use super::load::Summary;
use super::servers::{Program, Running, ends_with, message};
use super::{DnsArgs, compare};
use crate::Bench;
use crate::report::{Row, Table};
use crate::traffic::pin;

/// How names that are slow begin.
pub(super) const SLOW: &str = "slow-";
/// Milliseconds that they take.
const TAKES: u64 = 500;
/// Names of a file, of which one is slow.
const NAMES: usize = 20;
/// Clients.
const CLIENTS: usize = 200;
/// Questions a second at which latency is measured.
const RATE: f64 = 1_000.0;
/// So many times the answers of a build in which slow names hold up the others.
const GOAL_RATIO: f64 = 5.0;

/// A server that answers every name with 192.0.2.1, and what comes by one connection in order
#[derive(Clone, Debug, Args)]
pub(crate) struct InOrderArgs {
    #[arg(long)]
    plain: SocketAddr,
    #[arg(long)]
    tls: SocketAddr,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Serves until it is ended.
pub(crate) fn serve(args: &InOrderArgs) -> Result<()> {
    pin(1)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&args.certificate)?],
            PrivateKeyDer::from_pem_file(&args.key)?,
        )?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (plain, tls) = (TcpListener::bind(args.plain).await?, TcpListener::bind(args.tls).await?);
        tokio::try_join!(accept(plain, None), accept(tls, Some(acceptor)))?;
        Ok(())
    })
}

/// Takes all connections of a listener.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>) -> Result<()> {
    loop {
        let stream = listener.accept().await?.0;
        stream.set_nodelay(true)?;
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => converse(stream).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream).await;
                    }
                }
            }
        });
    }
}

/// Until the other side ends it.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut stream = BufReader::new(stream);
    while let Ok(length) = stream.read_u16().await {
        let mut asked = vec![0; usize::from(length)];
        if stream.read_exact(&mut asked).await.is_err() {
            return;
        }
        let Some(answer) = answer(&asked) else { return };
        let first = asked.get(13..13 + SLOW.len()).unwrap_or_default();
        if first.eq_ignore_ascii_case(SLOW.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(TAKES)).await;
        }
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// The answer to a question for A, with its length in front; None if it is none.
fn answer(asked: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + asked.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let mut answer = vec![0, 0];
    answer.extend_from_slice(asked.get(..end)?);
    answer.get_mut(4..14)?.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    let length = u16::try_from(answer.len() - 2).ok()?.to_be_bytes();
    answer.get_mut(..2)?.copy_from_slice(&length);
    Some(answer)
}

/// The server, as a process.
struct Upstream {
    plain: SocketAddr,
    tls: SocketAddr,
    authority: PathBuf,
    _server: Server,
}

impl Upstream {
    fn start(place: &Place, folder: &Path) -> Result<Upstream> {
        let at = |port| SocketAddr::new(place.address(), port);
        let (plain, tls) = (at(5320), at(5321));
        let authority = Authority::new(folder, "upstreams")?;
        let own = authority.server("in-order", &["dns.example.org"], &[])?;
        let mut server = Server::new("in-order", folder.join("in-order.log"));
        let mut command = place.command(std::env::current_exe()?);
        command.args(["in-order", "--plain", &plain.to_string(), "--tls", &tls.to_string()]);
        server.start(command.arg("--certificate").arg(&own.certificate).arg("--key").arg(&own.key))?;
        server.wait_until("it listens", || std::net::TcpStream::connect(tls).is_ok())?;
        Ok(Upstream { plain, tls, authority: authority.certificate(), _server: server })
    }

    fn configuration(&self, by_tls: bool) -> String {
        let whom = if by_tls {
            let authority = self.authority.display();
            format!("tls://{} {{\n  tls {authority}\n  tls_servername dns.example.org\n", self.tls)
        } else {
            format!("{} {{\n  force_tcp\n", self.plain)
        };
        format!(".:5300 {{\n bind ADDRESS\n errors\n forward . {whom}  max_fails 0\n }}\n}}\n")
    }
}

/// Adds the rows.
pub(super) fn measure(bench: &Bench, args: &DnsArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    let place = Place::machine(lab)?;
    let folder = lab.folder("in-order")?;
    let upstream = Upstream::start(&place, &folder)?;
    let questions = folder.join("questions");
    let quick = "????????????.names.test. A NOERROR 192.0.2.1\n".repeat(NAMES - 1);
    std::fs::write(&questions, format!("{quick}{SLOW}????????.names.test. A NOERROR 192.0.2.1\n"))?;
    for (by_tls, how) in [(false, "TCP"), (true, "TLS")] {
        let what = format!("forwarded by {how}, in order, one in {NAMES} slow");
        let (configuration, probe) = (upstream.configuration(by_tls), message("a.names.test", 1));
        let start = |program| {
            let right = |answer: &[u8]| ends_with(answer, IpAddr::from([192, 0, 2, 1]));
            Running::start(bench, program, &place, &configuration, &probe, right)
        };
        let programs = compare::programs(bench, args, &[Program::Coredns]);
        let running = programs.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        bench.go_on(&format!("{what}, in turns"))?;
        let loads: Vec<_> = running.iter().map(|server| (server, &*questions)).collect();
        let (clients, seconds) = (bench.pick(CLIENTS, 20), bench.pick(args.seconds, 0.3));
        // What is wrong or missing is told in the table: it says how well a server does here.
        let most = Demand { clients, seconds, rate: None, strict: false };
        let rates = in_turns(bench, &loads, most)?;
        let late = in_turns(bench, &loads, Demand { rate: Some(bench.pick(RATE, 100.0)), ..most })?;
        let measured: Vec<_> = running.iter().map(|server| server.program).zip(rates.iter().zip(&late)).collect();
        report(&what, &measured, table);
        running.into_iter().try_for_each(Running::stop)?;
    }
    Ok(())
}

/// What was measured of a program: as many questions as it answers, and at a fixed rate.
type Measured<'a> = (Program, (&'a Vec<Summary>, &'a Vec<Summary>));

fn report(what: &str, all: &[Measured<'_>], table: &mut Table) {
    let of = |program| all.iter().find(|(other, _)| *other == program).map(|(_, measured)| *measured);
    let Some(ours) = of(Program::Bowline) else { return };
    let (peer, beside) = (of(Program::Coredns), of(Program::Beside));
    let rate = |turns: &[Summary]| middle(turns, |load| load.qps);
    let reference = peer.map(|(peer, _)| format!("CoreDNS {:.0}: {:.1} x", rate(peer), rate(ours.0) / rate(peer)));
    let measured = format!("{:.0}", rate(ours.0));
    table.add(Row::plain(format!("{what}, answers a second"), measured, reference.unwrap_or_default()));
    if let Some((beside, _)) = beside {
        let ratio = rate(ours.0) / rate(beside);
        let row = Row::beside(format!("{:.0}", rate(beside)), ratio);
        // Where its others take as long as the slow ones, they wait for these: what it does is no measure.
        let held_up = middle(beside, |load| load.p50) >= TAKES as f64 * 1e3;
        table.add(if held_up { row.goal(format!(">= {GOAL_RATIO}"), ratio >= GOAL_RATIO) } else { row });
    }
    let at = |turns: &[Summary], of: fn(&Summary) -> f64| middle(turns, of) / 1e3;
    let latency =
        |turns: &[Summary]| format!("p50 {:.2}, p99 {:.2} ms", at(turns, |load| load.p50), at(turns, |load| load.p99));
    let reference = peer.map(|(_, peer)| format!("CoreDNS {}", latency(peer)));
    let row = Row::plain("- latency of the others at 1k a second", latency(ours.1), reference.unwrap_or_default());
    let p99 = |turns| at(turns, |load| load.p99);
    table.add(row.goal("p99 no worse than CoreDNS's", peer.is_none_or(|(_, peer)| p99(ours.1) <= p99(peer))));
    if let Some((_, beside)) = beside {
        let p50 = |turns| at(turns, |load| load.p50);
        table.add(Row::beside(latency(beside), p50(beside) / p50(ours.1)));
    }
    let missing = |(most, late): (&Vec<Summary>, &Vec<Summary>)| {
        let count = |of: fn(&Summary) -> u64| most.iter().chain(late).map(of).sum::<u64>();
        (count(|load| load.sent - load.answered), count(|load| load.sent))
    };
    let shown = |measured| format!("{} of {}", missing(measured).0, missing(measured).1);
    let others = [(peer, "CoreDNS"), (beside, "the build beside")];
    let others = others.into_iter().filter_map(|(of, name)| Some(format!("{name} {}", shown(of?))));
    let row = Row::plain(
        "- without a right answer within 2 s, of all asked",
        shown(ours),
        others.collect::<Vec<_>>().join(", "),
    );
    table.add(row.goal("none", missing(ours).0 == 0));
}
