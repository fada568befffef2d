//! A real etcd of one member or several.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::certificates::{Authority, Certificate};
use super::{PATIENCE, Place, Server, binary};
use crate::wait_for;

/// Which etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcdRelease {
    /// The one that `scripts/setup kubernetes` builds: 3.6.
    #[default]
    Built,
    /// The system's own: 3.4.23 on Debian 12.
    System,
}

/// Where a distribution has its etcd.
const SYSTEM_ETCD: &str = "/usr/bin/etcd";

impl EtcdRelease {
    fn binary(self) -> Result<PathBuf> {
        let EtcdRelease::System = self else { return binary("etcd") };
        let path = PathBuf::from(SYSTEM_ETCD);
        ensure!(path.is_file(), "{SYSTEM_ETCD} is not there: run 'scripts/setup test', which installs it");
        Ok(path)
    }

    /// What the kernel has taken outlives the process; a lab does not outlive the machine. 3.4 can't be told.
    fn flags(self) -> &'static [&'static str] {
        match self {
            EtcdRelease::Built => &["--unsafe-no-fsync"],
            EtcdRelease::System => &["--logger=zap", "--log-outputs=stderr"],
        }
    }

    /// The page that says whether it answers reads that all members agree on.
    fn health(self) -> &'static str {
        match self {
            EtcdRelease::Built => "readyz",
            EtcdRelease::System => "health",
        }
    }
}

/// How etcd is to run.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// Which one.
    pub release: EtcdRelease,
    /// How many members.
    pub members: usize,
    /// Clients speak TLS and must show a certificate of the authority's.
    pub tls: bool,
    /// More flags for each member.
    pub flags: Vec<String>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        EtcdOptions { release: EtcdRelease::default(), members: 1, tls: false, flags: Vec::new() }
    }
}

/// An etcd; it ends when dropped.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    authority: Option<(Authority, Certificate)>,
}

impl Etcd {
    /// Starts all members and waits until each is ready.
    pub fn start(place: &Place, options: &EtcdOptions) -> Result<Etcd> {
        let authority = match options.tls {
            false => None,
            true => {
                let authority = Authority::new(&place.folder("etcd-certificates")?, "etcd of a lab")?;
                let client = authority.client("client", "root", &[])?;
                Some((authority, client))
            }
        };
        let sockets: Vec<_> =
            (0..options.members as u16).map(|n| [2379, 2380, 2381].map(|usual| place.socket(usual + 10 * n))).collect();
        let cluster: Vec<_> = sockets.iter().enumerate().map(|(n, s)| format!("etcd-{n}=http://{}", s[1])).collect();
        let scheme = if options.tls { "https" } else { "http" };
        let mut members = Vec::new();
        for (n, &[client, peer, metrics]) in sockets.iter().enumerate() {
            let name = format!("etcd-{n}");
            let folder = place.folder(&name)?;
            let mut args = vec![
                format!("--name={name}"),
                format!("--listen-client-urls={scheme}://{client}"),
                format!("--advertise-client-urls={scheme}://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--listen-metrics-urls=http://{metrics}"),
                format!("--initial-cluster={}", cluster.join(",")),
                "--log-level=warn".into(),
            ];
            args.extend(options.release.flags().iter().map(ToString::to_string));
            if let Some((authority, _)) = &authority {
                let own = authority.server(&name, &[], &[client.ip()])?;
                args.extend([
                    "--client-cert-auth".into(),
                    format!("--trusted-ca-file={}", authority.certificate().display()),
                    format!("--cert-file={}", own.certificate.display()),
                    format!("--key-file={}", own.key.display()),
                ]);
            }
            args.extend(options.flags.iter().cloned());
            let server = Server::new(&name, folder.join("log"));
            let url = format!("{scheme}://{client}");
            let (place, data) = (place.clone(), folder.join("data"));
            members.push(Member { place, release: options.release, url, metrics, args, data, server });
        }
        // None is ready before most of them are there.
        members.iter_mut().try_for_each(Member::start_only)?;
        members.iter_mut().try_for_each(Member::wait_ready)?;
        Ok(Etcd { members, authority })
    }

    /// The members, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members, to stop and start them.
    pub fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The clients' URLs of all members, as `--etcd-servers` wants them.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    /// With TLS: the authority that clients and servers trust. To sign more certificates, or to replace one.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref().map(|(authority, _)| authority)
    }

    /// With TLS: a client's certificate, for the user `root`.
    pub fn client_certificate(&self) -> Option<&Certificate> {
        self.authority.as_ref().map(|(_, client)| client)
    }

    /// The index of the member that leads; waits for an election to end.
    pub fn leader(&self) -> Result<usize> {
        let mut leader = None;
        wait_for("a leader of etcd", PATIENCE, || {
            leader = self.members.iter().position(Member::leads);
            leader.is_some()
        })?;
        leader.context("etcd has no leader")
    }
}

/// A member of an etcd.
#[derive(Debug)]
pub struct Member {
    place: Place,
    release: EtcdRelease,
    url: String,
    metrics: SocketAddr,
    args: Vec<String>,
    data: PathBuf,
    server: Server,
}

impl Member {
    /// Its URL for clients.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A flag that it was started with, as it was given: `--name=etcd-0`.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let start = format!("--{name}=");
        self.args.iter().map(String::as_str).find(|arg| arg.starts_with(&start))
    }

    /// The folder of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process: for its id, its log, and signals.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Starts it again on its data, and waits until it is ready. Of several members most must be there.
    pub fn start(&mut self) -> Result<()> {
        self.start_only()?;
        self.wait_ready()
    }

    /// As [`Member::start`], from now on with another folder of data: an empty one, or a copy.
    pub fn start_with(&mut self, data: &Path) -> Result<()> {
        self.data = data.to_owned();
        self.start()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Starts it, without waiting.
    pub fn start_only(&mut self) -> Result<()> {
        let mut command = self.place.command(self.release.binary()?);
        command.args(&self.args).arg("--data-dir").arg(&self.data);
        self.server.start(&mut command)
    }

    /// Waits until it answers reads that all members agree on.
    pub fn wait_ready(&mut self) -> Result<()> {
        let (place, metrics, page) = (self.place.clone(), self.metrics, self.release.health());
        self.server.wait_until(page, || get(&place, metrics, page).is_some())
    }

    pub(crate) fn let_go(&mut self) {
        self.server.let_go();
    }

    fn leads(&self) -> bool {
        get(&self.place, self.metrics, "metrics").is_some_and(|text| text.contains("\netcd_server_is_leader 1\n"))
    }
}

/// A page of a member's, asked for from where it runs.
fn get(place: &Place, address: SocketAddr, page: &str) -> Option<String> {
    let mut curl: Command = place.command("curl");
    let out = curl.args(["-sf", "-m5", &format!("http://{address}/{page}")]).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}
