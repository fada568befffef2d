//! A Corefile, made into servers: all of it, or nothing and the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Server;
use crate::address::{Address, Transport};
use crate::corefile::{Corefile, CorefileError, Directive, Key, Scheme, ServerBlock, SourceLine};
use crate::plugin::building::{Task, Wishes};
use crate::plugin::page::Routes;
use crate::plugin::{Block, BlockConfig, Building, Plugin, Reload, Services};
use crate::plugins;
use crate::wire::name::Name;

/// A Corefile that was set up.
pub struct Instance {
    /// By address.
    servers: BTreeMap<Address, Arc<Server>>,
    /// In the order of the Corefile.
    blocks: Vec<Arc<Block>>,
    routes: Routes,
    /// Until the instance serves.
    tasks: Mutex<Vec<(&'static str, Task)>>,
    running: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    /// How long to go on when the end was asked for.
    pub lameduck: Duration,
    /// How the Corefile is looked at.
    pub reload: Option<Reload>,
    /// All files that were read.
    pub files: Vec<PathBuf>,
    /// Of the Corefile's text.
    pub digest: String,
}

impl Instance {
    /// Sets a Corefile up; keys without a port have `port`, relative paths begin at `folder`. Nothing listens yet.
    ///
    /// # Errors
    /// The first directive that is wrong.
    pub fn build(
        corefile: &Corefile,
        folder: &std::path::Path,
        port: u16,
        services: &Arc<Services>,
    ) -> Result<Instance, CorefileError> {
        let mut wishes = Wishes::default();
        let mut blocks = Vec::new();
        let mut entries: BTreeMap<Address, Vec<(Name, Arc<Block>)>> = BTreeMap::new();
        for block in &corefile.blocks {
            let built = Arc::new(build_block(block, folder, services, &mut wishes)?);
            for key in &block.keys {
                for address in addresses(key, port, &built.config, services)? {
                    let at = entries.entry(address).or_default();
                    for zone in &key.zones {
                        let is_taken = |(other_zone, other): &&(Name, Arc<Block>)| {
                            other_zone == zone && (other.config.view.is_none() || Arc::ptr_eq(other, &built))
                        };
                        if let Some((_, other)) = at.iter().find(is_taken) {
                            let place = &other.place;
                            let message =
                                format!("{address} serves {zone} already, by {place}: remove one, or add a view");
                            return Err(CorefileError {
                                place: key.place.clone(),
                                directive: key.text.clone(),
                                message,
                            });
                        }
                        at.push((zone.clone(), built.clone()));
                    }
                }
            }
            blocks.push(built);
        }
        for block in &blocks {
            let is_here = |(_, served): &&(Name, Arc<Block>)| Arc::ptr_eq(served, block);
            let at: Vec<(Address, Name)> = entries
                .iter()
                .flat_map(|(address, served)| served.iter().filter(is_here).map(|(zone, _)| (*address, zone.clone())))
                .collect();
            block.plugins.iter().for_each(|plugin| plugin.serves(block, &at));
        }
        let servers = entries
            .into_iter()
            .map(|(address, blocks)| (address, Arc::new(Server::new(address, blocks, services.clone()))));
        Ok(Instance {
            servers: servers.collect(),
            blocks,
            routes: wishes.routes,
            tasks: Mutex::new(wishes.tasks),
            running: Mutex::default(),
            lameduck: wishes.lameduck,
            reload: wishes.reload,
            files: corefile.files.clone(),
            digest: corefile.digest.clone(),
        })
    }

    /// What listens where.
    pub fn servers(&self) -> &BTreeMap<Address, Arc<Server>> {
        &self.servers
    }
    /// The server blocks, in the order of the Corefile.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }
    /// One more block, of a test's own.
    #[cfg(test)]
    pub(crate) fn push_block(&mut self, block: Block) {
        self.blocks.push(Arc::new(block));
    }
    /// Why not all plugins can do their work now; None once they can.
    pub fn not_ready(&self) -> Option<String> {
        let plugins = self.blocks.iter().flat_map(|block| &block.plugins);
        plugins.into_iter().find_map(|plugin| Some(format!("{}: {}", plugin.name(), plugin.not_ready()?)))
    }

    /// Whether plain DNS is served at that address.
    pub fn listens_at(&self, at: std::net::SocketAddr) -> bool {
        let here = |address: &&Address| {
            let host = address.host.is_none_or(|host| host == at.ip());
            address.transport == Transport::Udp && address.port == at.port() && host
        };
        self.servers.keys().any(|address| here(&address))
    }

    /// How long the cluster's state may have been unreadable for the server to be ready (`ready`'s `stale`).
    pub fn longest_stale(&self) -> Option<Duration> {
        self.blocks.iter().filter_map(|block| block.config.ready?.stale).min()
    }

    /// The pages over HTTP.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Starts the tasks, on the runtime of the caller. They end with the instance.
    pub(crate) fn start(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend(tasks.into_iter().map(|(name, task)| {
            tracing::debug!(task = name, "starting");
            tokio::spawn(task)
        }));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn build_block(
    block: &ServerBlock,
    folder: &std::path::Path,
    services: &Arc<Services>,
    wishes: &mut Wishes,
) -> Result<Block, CorefileError> {
    let zones: Vec<Name> = block.keys.iter().flat_map(|key| key.zones.iter().cloned()).collect();
    let Some(place) = block.keys.first().map(|key| &key.place) else {
        let place = SourceLine { file: "".into(), line: 0 };
        return Err(CorefileError::at(&place, "a server block has no zone"));
    };
    let names: Vec<String> = block.directives.iter().map(|directive| directive.name.clone()).collect();
    for directive in &block.directives {
        plugins::check(directive)?;
    }
    let mut config = BlockConfig::default();
    let mut folder = folder.to_owned();
    let mut plugins: Vec<Arc<dyn Plugin>> = Vec::new();
    for (name, set_up) in plugins::PLUGINS {
        let directives: Vec<&Directive> = block.directives.iter().filter(|given| given.name == *name).collect();
        if directives.is_empty() {
            continue;
        }
        let mut building = Building {
            zones: &zones,
            keys: &block.keys,
            place,
            folder: folder.clone(),
            services,
            block: &mut config,
            plugins: &plugins,
            directives: &names,
            wishes,
        };
        let plugin = set_up(&mut building, &directives)?;
        folder = building.folder;
        plugins.extend(plugin);
    }
    Ok(Block { zones, plugins: plugins.into(), config, place: place.to_string() })
}

/// Where a key listens.
fn addresses(key: &Key, port: u16, config: &BlockConfig, services: &Services) -> Result<Vec<Address>, CorefileError> {
    let transport = match key.scheme {
        Scheme::Dns => Transport::Udp,
        Scheme::Tls => Transport::Tls,
        Scheme::Https => Transport::Https,
        Scheme::Quic => Transport::Quic,
    };
    // Without one, what comes by TLS and HTTPS comes from a proxy that has ended TLS. There is no QUIC without.
    if transport == Transport::Quic && config.tls.is_none() {
        return Err(CorefileError {
            place: key.place.clone(),
            directive: key.text.clone(),
            message: "needs a certificate: add `tls CERT KEY` to the block".into(),
        });
    }
    let hosts = if config.bind.is_empty() { &services.node_local } else { &config.bind };
    let address = |host| Address { transport, host, port: key.port_or(port) };
    Ok(if hosts.is_empty() { vec![address(None)] } else { hosts.iter().map(|host| address(Some(*host))).collect() })
}
