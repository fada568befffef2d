//! What a Corefile needs of a cluster: which one, and what of it.

use bowline_dns::corefile::{Corefile, Directive};
use bowline_sources::kubernetes::Access;

/// All directives of that name in all server blocks.
fn directives<'a>(corefile: &'a Corefile, name: &'a str) -> impl Iterator<Item = &'a Directive> {
    corefile.blocks.iter().flat_map(|block| &block.directives).filter(move |directive| directive.name == name)
}

/// What needs all Pods to be read, as names of Pods are verified; None: nothing does.
pub fn needs_pods(corefile: &Corefile) -> Option<&Directive> {
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
pub fn wish(corefile: &Corefile) -> anyhow::Result<Option<Access>> {
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
                    access.apiservers = read.map_err(|error| anyhow::anyhow!("{}", line.error(error)))?;
                }
                ("tls", _) => {
                    let [certificate, key, ca] = &line.args[..] else {
                        anyhow::bail!("{}", line.error("takes three files: certificate, key, CA"));
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
