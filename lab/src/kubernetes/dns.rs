//! Who answers the cluster's DNS: Bowline as deploy/dns has it, or CoreDNS for comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::images::{REGISTRY, TAG};
use super::kubelet::CLUSTER_DNS;
use super::{ApiServer, Image, binary};
use crate::Lab;
use crate::lab::run;

const COREDNS: &str = include_str!("../../kubernetes/coredns.yaml");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Who answers the cluster's DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// `bowline dns`.
    Bowline {
        /// The program.
        program: PathBuf,
    },
    /// CoreDNS.
    CoreDns,
}

impl Dns {
    /// The image that its pods run.
    pub(crate) fn image(&self) -> Result<Image> {
        Ok(match self {
            Dns::Bowline { program } => Image::of("bowline", program.clone()),
            Dns::CoreDns => Image::of("coredns", binary("coredns")?),
        })
    }

    /// Its Deployment in kube-system.
    pub fn deployment(&self) -> &'static str {
        match self {
            Dns::Bowline { .. } => "bowline-dns",
            Dns::CoreDns => "coredns",
        }
    }

    /// Makes the Service kube-dns and what is behind it. Does not wait.
    pub(crate) fn apply(&self, lab: &Lab, api: &ApiServer) -> Result<()> {
        match self {
            Dns::CoreDns => api.apply(COREDNS)?,
            Dns::Bowline { .. } => {
                let overlay = overlay(&lab.folder("dns")?)?;
                api.kubectl(&["apply", "--server-side", "--force-conflicts", "--kustomize", &overlay])?
            }
        };
        Ok(())
    }
}

/// An overlay as an operator writes it, on a copy of deploy/: kustomize takes no absolute path. Its path.
fn overlay(folder: &Path) -> Result<String> {
    run(Command::new("cp").arg("-r").arg(DEPLOY).arg(folder.join("deploy")))?;
    let own = folder.join("overlay");
    fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
    let text = format!(
        r#"apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: kube-system
resources: [../deploy/dns, ../deploy/dns/service]
images: [{{name: bowline, newName: {REGISTRY}/bowline, newTag: {TAG}}}]
patches:
  - target: {{kind: Service, name: kube-dns}}
    patch: |-
      - {{op: add, path: /spec/ipFamilyPolicy, value: PreferDualStack}}
      - {{op: add, path: /spec/clusterIP, value: {CLUSTER_DNS}}}
      - {{op: add, path: /spec/clusterIPs, value: ["{CLUSTER_DNS}", "fd96::a"]}}
"#
    );
    fs::write(own.join("kustomization.yaml"), text).with_context(|| format!("cannot write to {}", own.display()))?;
    Ok(own.to_string_lossy().into_owned())
}
