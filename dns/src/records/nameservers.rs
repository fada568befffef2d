//! The name servers of the zone: the Service that this server is an endpoint of, or itself.

use std::net::IpAddr;

use bowline_cluster::object::Service;

use super::Records;
use super::entry::{self, host_labels, ready};

/// A name server of a zone, with one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its labels in front of the zone.
    pub(super) front: Box<[u8]>,
    pub(super) ip: IpAddr,
}

/// The labels of the name server that is in every zone.
pub(super) const NS_DNS: &[u8] = b"\x02ns\x03dns";

impl Records {
    /// The name servers, as CoreDNS finds them: by the slices that have one of this server's own addresses, their
    /// Services; where there is no such slice, `ns.dns` with the own addresses.
    pub(super) fn name_servers(&self) -> Vec<NameServer> {
        let mut servers = Vec::new();
        let mut found = false;
        for local in &self.options.local_ips {
            for name in self.pointers.endpoints(*local) {
                for slice in self.snapshot.slices_of(name) {
                    if !ready(slice).any(|endpoint| endpoint.address == *local) {
                        continue;
                    }
                    found = true;
                    let Some(service) = self.snapshot.services.get(name) else { continue };
                    let (Some(front), true) = (entry::front(name), self.has_label_of(service)) else { continue };
                    if service.headless {
                        for endpoint in ready(slice) {
                            let mut labels = host_labels(&endpoint, slice, &self.options, false);
                            labels.extend_from_slice(&front);
                            push(&mut servers, &labels, endpoint.address);
                        }
                    } else {
                        service.cluster_ips.iter().for_each(|ip| push(&mut servers, &front, *ip));
                    }
                }
            }
        }
        if !found {
            self.options.local_ips.iter().for_each(|ip| push(&mut servers, NS_DNS, *ip));
        }
        servers
    }

    fn has_label_of(&self, service: &Service) -> bool {
        self.options.labels.as_ref().is_none_or(|selector| selector.fits_labels(&service.labels))
    }
}

/// A record that is there already is left out (RFC 2181 §5).
fn push(servers: &mut Vec<NameServer>, front: &[u8], ip: IpAddr) {
    if !servers.iter().any(|server| *server.front == *front && server.ip == ip) {
        servers.push(NameServer { front: front.into(), ip });
    }
}
