//! What CoreDNS's users write: flags with one dash, and what a Corefile says of its cluster.

use std::ffi::OsString;

use bowline_dns::corefile::{Corefile, Directive};
use bowline_sources::kubernetes::Access;

/// Flags of CoreDNS and node-cache, which write them with one dash.
const FLAGS: [&str; 20] = [
    "conf",
    "dns.port",
    "pidfile",
    "plugins",
    "quiet",
    "version",
    "localip",
    "interfacename",
    "setupinterface",
    "setupiptables",
    "skipteardown",
    "upstreamsvc",
    "basecorefile",
    "metrics-listen-address",
    "corefile",
    "kubednscm",
    "syncinterval",
    "initialdelay",
    "setupebtables",
    "health-port",
];

/// The command line, with two dashes where CoreDNS and node-cache write one: their manifests' `args` work as they are.
pub(crate) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.collect();
    let is_dns = args.get(1).is_some_and(|command| command == "dns" || command == "node");
    let long = |arg: OsString| match arg.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(flag) if FLAGS.contains(&flag.split('=').next().unwrap_or(flag)) => format!("--{flag}").into(),
        _ => arg,
    };
    if is_dns { args.into_iter().map(long).collect() } else { args }
}

/// All directives of that name in all server blocks.
fn directives<'a>(corefile: &'a Corefile, name: &'a str) -> impl Iterator<Item = &'a Directive> {
    corefile.blocks.iter().flat_map(|block| &block.directives).filter(move |directive| directive.name == name)
}

/// What needs all Pods to be read, as names of Pods are verified; None: nothing does.
pub(crate) fn needs_pods(corefile: &Corefile) -> Option<&Directive> {
    let verifies = |line: &&Directive| line.name == "pods" && line.arg(0) == Some("verified");
    let is_by_pod = |directive: &&Directive| directive.args.iter().any(|arg| arg.starts_with('@'));
    let kubernetes = directives(corefile, "kubernetes").flat_map(Directive::body).find(verifies);
    kubernetes.or_else(|| directives(corefile, "autopath").find(is_by_pod))
}

/// The cluster that the `kubernetes` directives name by `endpoint`, `tls` and `kubeconfig`; that of the pod, where they
/// name none. None where there is no such directive.
///
/// # Errors
/// What they name can't be read.
pub(crate) fn wish(corefile: &Corefile) -> anyhow::Result<Option<Access>> {
    let mut wish = None;
    for directive in directives(corefile, "kubernetes") {
        let access: &mut Access = wish.get_or_insert_with(Access::default);
        for line in directive.body() {
            match (line.name.as_str(), line.arg(0)) {
                ("kubeconfig", Some(file)) => {
                    access.kubeconfig = Some(file.into());
                    access.context = line.arg(1).map(str::to_owned);
                }
                ("endpoint", Some(_)) => {
                    let urls = line.args.join(",");
                    let read = bowline_sources::kubernetes::apiservers(&urls);
                    access.apiservers = read.map_err(|error| anyhow::anyhow!("{}", line.problem(error)))?;
                }
                ("tls", _) => {
                    let [certificate, key, ca] = &line.args[..] else {
                        anyhow::bail!("{}", line.problem("takes three files: certificate, key, CA"));
                    };
                    access.tls = Some([certificate.into(), key.into(), ca.into()]);
                }
                _ => {}
            }
        }
    }
    Ok(wish)
}

#[cfg(test)]
mod tests;
