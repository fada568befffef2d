//! Who answers the cluster's DNS: Bowline as deploy/dns has it, or CoreDNS for comparison.

use std::path::PathBuf;

use anyhow::Result;

use super::deploy::{Deploy, Overlay};
use super::kubelet::CLUSTER_DNS;
use super::{ApiServer, Image, binary};
use crate::Lab;

const COREDNS: &str = include_str!("../../kubernetes/coredns.yaml");
/// The Service, at the address that kubelets name, as an operator patches it.
fn at_its_address() -> String {
    format!(
        r#"  - target: {{kind: Service, name: kube-dns}}
    patch: |-
      - {{op: add, path: /spec/ipFamilyPolicy, value: PreferDualStack}}
      - {{op: add, path: /spec/clusterIP, value: {CLUSTER_DNS}}}
      - {{op: add, path: /spec/clusterIPs, value: ["{CLUSTER_DNS}", "fd96::a"]}}
"#
    )
}

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
            Dns::Bowline { program } => Image::bowline(program.clone()),
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
                let (image, patches) = (self.image()?.full_name(), at_its_address());
                let overlay = Overlay::new(&["dns", "dns/service"], &image).patches(&patches);
                let overlay = Deploy::new(lab)?.overlay("own-dns", &overlay)?;
                api.kubectl(&["apply", "--server-side", "--force-conflicts", "--kustomize", &overlay])?
            }
        };
        Ok(())
    }
}
