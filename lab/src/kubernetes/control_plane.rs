//! etcd, the API server, the controller manager and the scheduler, in a cluster's first node.

use anyhow::Result;

use super::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Machine, Place, SERVICE_CIDRS, Server, binary};
use crate::Lab;

/// Where pods' addresses are from; each node gets a /24 and a /64.
pub const POD_CIDRS: &str = "10.244.0.0/16,fd44::/48";

/// All but the nodes of a cluster.
#[derive(Debug)]
pub struct ControlPlane {
    place: Place,
    etcd: Etcd,
    api: ApiServer,
    controller_manager: Server,
    scheduler: Server,
}

impl ControlPlane {
    /// Starts all four, and waits for the first two.
    pub fn start(lab: &Lab, machine: &Machine) -> Result<ControlPlane> {
        let place = Place::host(lab, machine)?;
        let etcd = Etcd::start(&place, &EtcdOptions::default())?;
        let options = ApiServerOptions {
            rbac: true,
            names: vec![machine.name().to_owned()],
            addresses: vec![machine.v6().into()],
            ..Default::default()
        };
        let api = ApiServer::start(&place, &etcd, &options)?;
        let server = |name: &str| Ok::<_, anyhow::Error>(Server::new(name, place.folder(name)?.join("log")));
        let (controller_manager, scheduler) = (server("kube-controller-manager")?, server("kube-scheduler")?);
        let mut plane = ControlPlane { place, etcd, api, controller_manager, scheduler };
        plane.start_controller_manager()?;
        plane.start_scheduler()?;
        Ok(plane)
    }

    /// Starts the controller manager (again), without waiting.
    pub fn start_controller_manager(&mut self) -> Result<()> {
        let name = "kube-controller-manager";
        let kubeconfig = self.api.client_kubeconfig(name, &format!("system:{name}"), &[])?;
        let authority = self.api.authority();
        let mut command = self.place.command(binary(name)?);
        command.args([
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--service-account-private-key-file={}", self.api.accounts_key().display()),
            format!("--root-ca-file={}", authority.certificate().display()),
            format!("--cluster-signing-cert-file={}", authority.certificate().display()),
            format!("--cluster-signing-key-file={}", authority.key().display()),
            format!("--cluster-cidr={POD_CIDRS}"),
            format!("--service-cluster-ip-range={SERVICE_CIDRS}"),
            "--allocate-node-cidrs".into(),
            "--use-service-account-credentials".into(),
            "--leader-elect=false".into(),
        ]);
        self.controller_manager.start(&mut command)
    }

    /// Starts the scheduler (again), without waiting.
    pub fn start_scheduler(&mut self) -> Result<()> {
        let name = "kube-scheduler";
        let kubeconfig = self.api.client_kubeconfig(name, &format!("system:{name}"), &[])?;
        let mut command = self.place.command(binary(name)?);
        command.arg(format!("--kubeconfig={}", kubeconfig.display())).arg("--leader-elect=false");
        self.scheduler.start(&mut command)
    }

    /// etcd.
    pub fn etcd_mut(&mut self) -> &mut Etcd {
        &mut self.etcd
    }

    /// The API server.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// The API server, to stop and start it.
    pub fn api_mut(&mut self) -> &mut ApiServer {
        &mut self.api
    }

    pub(crate) fn let_go(&mut self) {
        for member in self.etcd.members_mut() {
            member.let_go();
        }
        self.api.let_go();
        self.controller_manager.let_go();
        self.scheduler.let_go();
    }
}
