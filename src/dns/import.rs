//! `bowline dns import-kube-dns`: a ConfigMap of kube-dns as a Corefile.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use bowline_dns::corefile::kube_dns::KubeDns;
use bowline_sources::parse::document;
use clap::Args;

use crate::store;
use bowline_agent::log::tell;

/// Arguments of `dns import-kube-dns`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The ConfigMap's manifest, YAML or JSON; - for standard input
    ///
    /// `kubectl -n kube-system get configmap kube-dns -o yaml` prints it.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The cluster's domain
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
}

/// Prints the Corefile; what has no counterpart is told on stderr.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let mut name = args.file.display().to_string();
    if name == "-" {
        name = "standard input".to_owned();
        std::io::stdin().read_to_end(&mut text).context("reading standard input")?;
    } else {
        text = std::fs::read(&args.file).with_context(|| name.clone())?;
    }
    let read = document::documents(&name, &text);
    if let Some(problem) = read.problems.first() {
        anyhow::bail!("{problem}");
    }
    let objects: Vec<_> = read.documents.into_iter().map(|one| (one.origin.to_string(), one.value)).collect();
    let asked = KubeDns::from_objects(&name, &objects).map_err(anyhow::Error::msg)?;
    for warning in &asked.warnings {
        tell(&format!("warning: {warning}"));
    }
    store::write(&asked.corefile(&args.cluster_domain).map_err(anyhow::Error::msg)?).map(|_| ())
}
