//! The pages of `health`, `ready` and `prometheus`. Over a reload a listener stays where its address does.

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Instance;
use super::worker::refused;
use bowline_observe::pages::{self, Page};

use crate::plugin::page::Routes;

/// So many connections at a time for each address. CoreDNS has no bound; probes must find room beside clients that hold
/// theirs, so there is plenty.
const CONNECTIONS: usize = 4096;

/// The listeners of the pages. Lives on the runtime of the house keeping.
#[derive(Default)]
pub(super) struct Pages {
    listeners: BTreeMap<SocketAddr, JoinHandle<()>>,
}

/// Listeners that are open and don't serve yet.
pub(super) struct Opened(Vec<(SocketAddr, TcpListener)>);

impl Pages {
    /// Opens what is missing. Nothing has changed if it fails.
    ///
    /// # Errors
    /// An address can't be listened at; it is named.
    pub(super) fn open(&self, routes: &Routes) -> io::Result<Opened> {
        let mut opened = Vec::new();
        for address in routes.keys().filter(|address| !self.listeners.contains_key(address)) {
            let listener = super::listen::tcp(*address)
                .and_then(TcpListener::from_std)
                .map_err(|error| refused(&error, format!("listening at {address} for HTTP")))?;
            opened.push((*address, listener));
        }
        Ok(Opened(opened))
    }

    /// Serves what `routes` says, by the instance that is current.
    pub(super) fn serve(&mut self, routes: &Routes, opened: Opened, current: &Arc<ArcSwap<Instance>>) {
        self.listeners.retain(|address, task| {
            let stays = routes.contains_key(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (address, listener) in opened.0 {
            let task = {
                let current = current.clone();
                let page = move |path: String| ready(page(&current.load(), address, &path));
                tokio::spawn(pages::serve(listener, CONNECTIONS, page))
            };
            self.listeners.insert(address, task);
        }
    }
}

fn page(instance: &Instance, address: SocketAddr, path: &str) -> Page {
    let handler = instance.routes().get(&address).and_then(|routes| routes.get(path));
    handler.map_or_else(Page::missing, |handler| handler(instance.blocks()))
}
