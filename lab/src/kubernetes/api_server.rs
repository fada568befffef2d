//! A real kube-apiserver.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::certificates::{Authority, Certificate, write};
use super::{Credential, Etcd, Place, Server, binary, kubeconfig};

/// The user of the administrator's kubeconfigs, in the group `system:masters`.
pub const ADMIN: &str = "lab-admin";
/// Where the API server takes addresses of Services from; `kubernetes` is the first, 10.96.0.1.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd96::/112";
/// In the Service `kubernetes`, where the real address is loopback: the API server refuses that. An
/// address for documentation, which nothing ever connects to.
const NOWHERE: &str = "192.0.2.1";

/// Objects that are created at the same time.
const AT_ONCE: usize = 8;

/// How the API server is to run.
#[derive(Clone, Debug, Default)]
pub struct ApiServerOptions {
    /// Permissions by RBAC (and those of nodes); otherwise everybody may do everything.
    pub rbac: bool,
    /// More flags; the last of a flag counts.
    pub flags: Vec<String>,
    /// More names of its certificate.
    pub names: Vec<String>,
    /// More addresses of its certificate.
    pub addresses: Vec<IpAddr>,
}

/// An API server; it ends when dropped.
#[derive(Debug)]
pub struct ApiServer {
    place: Place,
    folder: PathBuf,
    address: SocketAddr,
    authority: Authority,
    args: Vec<String>,
    server: Server,
}

impl ApiServer {
    /// Starts it over this etcd and waits until it is ready.
    pub fn start(place: &Place, etcd: &Etcd, options: &ApiServerOptions) -> Result<ApiServer> {
        let address = place.socket(6443);
        // Several on one machine have a port each.
        let folder = place.folder(&format!("kube-apiserver-{}", address.port()))?;
        let authority = Authority::new(&folder, "Kubernetes of a lab")?;
        let mut names: Vec<_> = options.names.iter().map(String::as_str).collect();
        names.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]);
        names.push("kubernetes.default.svc.cluster.local");
        let mut addresses = options.addresses.clone();
        addresses.extend([address.ip(), "10.96.0.1".parse()?, "fd96::1".parse()?, "127.0.0.1".parse()?]);
        let serving = authority.server("serving", &names, &addresses)?;
        let (accounts, accounts_public) = authority.pair("service-accounts")?;
        let kubelet_client = authority.client("kubelet-client", "kube-apiserver", &["system:masters"])?;
        let tokens = folder.join("tokens.csv");
        let token = random_token()?;
        write(&tokens, &format!("{token},{ADMIN},{ADMIN},\"system:masters\"\n"))?;
        let advertised = if place.is_machine() { NOWHERE.to_owned() } else { address.ip().to_string() };
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let mut args = vec![
            format!("--etcd-servers={}", etcd.urls().join(",")),
            format!("--bind-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
            format!("--advertise-address={advertised}"),
            format!("--service-cluster-ip-range={SERVICE_CIDRS}"),
            format!("--authorization-mode={}", if options.rbac { "Node,RBAC" } else { "AlwaysAllow" }),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            "--allow-privileged=true".into(),
            // The names of nodes are known to no DNS.
            "--kubelet-preferred-address-types=InternalIP".into(),
            file("service-account-key-file", &accounts_public),
            file("service-account-signing-key-file", &accounts),
            file("tls-cert-file", &serving.certificate),
            file("tls-private-key-file", &serving.key),
            file("client-ca-file", &authority.certificate()),
            file("kubelet-client-certificate", &kubelet_client.certificate),
            file("kubelet-client-key", &kubelet_client.key),
            file("token-auth-file", &tokens),
            file("cert-dir", &folder),
        ];
        if let (Some(trusted), Some(own)) = (etcd.authority(), etcd.client_certificate()) {
            args.extend([
                file("etcd-cafile", &trusted.certificate()),
                file("etcd-certfile", &own.certificate),
                file("etcd-keyfile", &own.key),
            ]);
        }
        args.extend(options.flags.iter().cloned());
        let server = Server::new("kube-apiserver", folder.join("log"));
        let mut api = ApiServer { place: place.clone(), folder, address, authority, args, server };
        api.kubeconfig("admin", Credential::Token(&token))?;
        api.client_kubeconfig("admin-certificate", ADMIN, &["system:masters"])?;
        api.restart()?;
        Ok(api)
    }

    /// Starts it (again) and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.start_only()?;
        self.wait_ready()
    }

    /// Starts it (again), without waiting.
    pub fn start_only(&mut self) -> Result<()> {
        let mut command = self.place.command(binary("kube-apiserver")?);
        self.server.start(command.args(&self.args))
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&mut self) -> Result<()> {
        let (place, authority, url) = (self.place.clone(), self.authority.certificate(), self.url() + "/readyz");
        // Where everybody may do everything, the API server lets nobody in who has no name.
        let own = ["crt", "key"].map(|ending| self.folder.join(format!("kubelet-client.{ending}")));
        self.server.wait_until("readyz", || {
            let mut curl = place.command("curl");
            curl.args(["-sf", "-m5", &url, "--cacert"]).arg(&authority).stdout(Stdio::null()).stderr(Stdio::null());
            curl.arg("--cert").arg(&own[0]).arg("--key").arg(&own[1]);
            curl.status().is_ok_and(|status| status.success())
        })
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Its process: for its id, its log, and signals.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Lets it go on without us.
    pub(crate) fn let_go(&mut self) {
        self.server.let_go();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Who signs its certificate and those of its clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The folder of its certificates, kubeconfigs and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key with which tokens of service accounts are signed.
    pub(crate) fn accounts_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    /// A kubeconfig of the administrator, with a token.
    pub fn admin(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// A kubeconfig of the administrator, with a client's certificate.
    pub fn admin_by_certificate(&self) -> PathBuf {
        self.folder.join("admin-certificate.kubeconfig")
    }

    /// A new kubeconfig `NAME.kubeconfig` for this credential.
    pub fn kubeconfig(&self, name: &str, credential: Credential<'_>) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        kubeconfig(&path, &self.url(), &self.authority.certificate(), credential)?;
        Ok(path)
    }

    /// A new kubeconfig `NAME.kubeconfig` with a new certificate for this user.
    pub fn client_kubeconfig(&self, name: &str, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let certificate: Certificate = self.authority.client(name, user, groups)?;
        self.kubeconfig(name, Credential::Certificate(&certificate))
    }

    /// A new kubeconfig `NAMESPACE-NAME.kubeconfig` with a token of this service account, for an hour.
    pub fn account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", "--namespace", namespace, name])?;
        self.kubeconfig(&format!("{namespace}-{name}"), Credential::Token(token.trim()))
    }

    /// A command `kubectl` as the administrator, which runs where the server does.
    pub fn kubectl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.place.command(binary("kubectl")?);
        command.arg("--kubeconfig").arg(self.admin()).arg("--cache-dir").arg(self.folder.join("cache")).args(args);
        Ok(command)
    }

    /// Runs `kubectl` as the administrator and returns what it printed; an error unless it succeeds.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        finish(&mut self.kubectl_command(args)?).with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// `kubectl apply` of this manifest; conflicts are ours to win.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.folder.join(format!("apply-{}.yaml", random_token()?));
        write(&file, manifest)?;
        let mut command = self.kubectl_command(&["apply", "--server-side", "--force-conflicts", "-f"])?;
        let result = finish(command.arg(&file)).context("kubectl apply");
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        result
    }

    /// Creates many objects, some at the same time. Each is given with
    /// the path of its collection, such as `/api/v1/namespaces/default/services`.
    pub fn create_all(&self, objects: &[(String, Value)]) -> Result<()> {
        let (token, url) = (self.token()?, self.url());
        let share = objects.len().div_ceil(AT_ONCE).max(1);
        std::thread::scope(|scope| {
            let creators: Vec<_> =
                objects.chunks(share).map(|objects| scope.spawn(|| self.create(&url, &token, objects))).collect();
            creators.into_iter().try_for_each(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// One curl for all of them, over one connection.
    fn create(&self, url: &str, token: &str, objects: &[(String, Value)]) -> Result<()> {
        let authority = self.authority.certificate();
        let mut config = String::new();
        for (path, object) in objects {
            let quoted = object.to_string().replace('\\', r"\\").replace('"', r#"\""#);
            config += &format!(
                "url = \"{url}{path}\"\ndata-binary = \"{quoted}\"\nheader = \"Content-Type: application/json\"\n\
                 header = \"Authorization: Bearer {token}\"\ncacert = \"{}\"\noutput = \"/dev/null\"\nsilent\n\
                 write-out = \"%{{http_code}} %{{url}}\\n\"\nnext\n",
                authority.display()
            );
        }
        // A file, since it has the token, and may be larger than a pipe holds.
        let file = self.folder.join(format!("create-{}.curl", random_token()?));
        write(&file, config.trim_end_matches("next\n"))?;
        let out = self.place.command("curl").arg("--config").arg(&file).output().context("cannot start curl");
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        let out = out?;
        let said = String::from_utf8_lossy(&out.stdout);
        if let Some(refused) = said.lines().find(|line| !line.starts_with("201 ")) {
            bail!("the API server did not create an object: {refused}");
        }
        ensure!(
            said.lines().count() == objects.len(),
            "curl: {}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(())
    }

    /// The administrator's token.
    fn token(&self) -> Result<String> {
        let tokens = self.folder.join("tokens.csv");
        let text = std::fs::read_to_string(&tokens).with_context(|| format!("cannot read {}", tokens.display()))?;
        Ok(text.split(',').next().unwrap_or_default().to_owned())
    }
}

fn finish(command: &mut Command) -> Result<String> {
    let out = command.output().context("cannot start kubectl")?;
    ensure!(out.status.success(), "{}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// 128 random bits.
fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
