//! `autopath`: goes through a client's search path on its behalf, so that one question finds what takes it several.
//!
//! A Pod that looks for `example.com` asks for `example.com.NAMESPACE.svc.ZONE` first, by its search path. That name
//! tells the rest of the path; the first answer on it that is not NXDOMAIN goes back, with an alias in front that leads
//! from the name that was asked for to the one that was found.
//!
//! With `@kubernetes` the path is that of the Pod that has the client's address: one that runs (which needs
//! `pods verified`). An address that Pods of several namespaces have, as those on the host's network do, tells none.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::address::Address;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::Zones;
use crate::plugin::{Block, Building, Next, Plugin, Query};
use crate::plugins::shared::by_server::ByServer;
use crate::records::Records;
use crate::reply::{Outcome, Reply, Serving};
use crate::wire::{Data, Name, Rcode, Record, Type};
use bowline_observe::metrics::Registry;

#[cfg(test)]
mod tests;

const NAME: &str = "autopath";

struct Autopath {
    zones: Zones,
    /// The path of all clients, or what follows the cluster's zones.
    search: Vec<Name>,
    of: Of,
    success: ByServer,
    registry: Arc<Registry>,
}

/// Whose path it is.
enum Of {
    /// Everybody's.
    Everybody,
    /// That of the client's Pod. Set once the `kubernetes` of the block is set up.
    Pod(OnceLock<Arc<ArcSwap<Records>>>),
}

/// `autopath [ZONE...] RESOLV-CONF`, or `@kubernetes` for the last
///
/// # Errors
/// The file can't be read, or another plugin than kubernetes is named.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive] = directives else {
        let again = directives.get(1).map(|again| again.error("stands twice in this block; join the two"));
        return again.map_or(Ok(None), Err);
    };
    let words = directive.args_between(1, usize::MAX)?;
    directive.no_body()?;
    let Some((source, zones)) = words.split_last() else { return Ok(None) };
    let zones = Zones::read(directive, zones, building)?;
    let (of, search) = match source.strip_prefix('@') {
        Some("kubernetes") => {
            if !building.directives.iter().any(|name| name == "kubernetes") {
                tracing::warn!(place = %directive.place, "autopath does nothing: the block has no kubernetes");
            }
            // The host's own path follows the cluster's; a host without the file has none.
            let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            (Of::Pod(OnceLock::new()), search_of(&own))
        }
        Some(other) => {
            let message = format!("{other} knows no search paths; write @kubernetes or the path of a resolv.conf");
            return Err(directive.error(message));
        }
        None => (Of::Everybody, read(directive, &building.path(source))?),
    };
    let success = ByServer::without_view("coredns_autopath_success_total", "Counter of requests that did autopath.");
    let registry = building.services.metrics.clone();
    Ok(Some(Arc::new(Autopath { zones, search, of, success, registry })))
}

fn read(directive: &Directive, path: &Path) -> Result<Vec<Name>, CorefileError> {
    let wrong = |error: std::io::Error| directive.error(format!("{}: {error}", path.display()));
    Ok(search_of(&std::fs::read_to_string(path).map_err(wrong)?))
}

/// The search path of a resolv.conf: its last `search` or `domain`.
fn search_of(text: &str) -> Vec<Name> {
    let mut search = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search") => search = words.filter_map(|word| Name::parse(word).ok()).collect(),
            Some("domain") => search = words.next().and_then(|word| Name::parse(word).ok()).into_iter().collect(),
            _ => {}
        }
    }
    search.iter().map(Name::to_lower).collect()
}

impl Autopath {
    /// The search path of a client that asks for this name; none where it is not known.
    fn path(&self, query: &Query) -> Vec<Name> {
        let Of::Pod(records) = &self.of else { return self.search.clone() };
        let Some(records) = records.get().map(|records| records.load()) else { return Vec::new() };
        let client = query.request.from.ip().to_canonical();
        let lower = query.name().to_lower();
        let zone = records.options().find(lower.as_wire()).map(|(zone, _)| &zone.name);
        let (Some(zone), Some(namespace)) = (zone, records.namespace_at(client)) else { return Vec::new() };
        let Ok(svc) = zone.prepend(b"svc") else { return Vec::new() };
        let Ok(own) = svc.prepend(namespace.as_bytes()) else { return Vec::new() };
        let mut path = vec![own, svc, zone.clone()];
        path.extend(self.search.iter().cloned());
        path
    }

    /// Whether a name may be one of a search path that the cluster's state tells.
    fn is_of_the_cluster(&self, name: &Name) -> bool {
        let Of::Pod(records) = &self.of else { return false };
        records.get().is_some_and(|records| records.load().options().find(name.to_lower().as_wire()).is_some())
    }

    /// Asks along the search path of the client, where it is known.
    fn find<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let path = self.path(query);
        // Nothing is in front of the path's first zone: the question is for that zone.
        let front = path.first().and_then(|first| query.name().before(first)).unwrap_or_default().to_vec();
        if front.is_empty() {
            return next.run(query);
        }
        Box::pin(self.walk(query, next, path, front))
    }

    /// Asks one name after the other.
    async fn walk(&self, query: &mut Query, next: Next<'_>, path: Vec<Name>, front: Vec<u8>) -> Outcome {
        let asked = query.name().clone();
        let mut first = None;
        for (n, zone) in path.iter().chain([&Name::root()]).enumerate() {
            // The first is what was asked, and stays in its letters.
            let joined = if n == 0 { Ok(asked.clone()) } else { Name::join(&front, zone) };
            let Ok(name) = joined else { continue };
            query.note(|| format!("asks for {name}"));
            query.question.name = name;
            let outcome = next.run(&mut *query).await;
            query.question.name = asked.clone();
            match outcome {
                // Something is amiss: the client shall know.
                Err(failure) if !failure.reason.is_empty() => return Err(failure),
                Ok(Some(mut reply)) if has_found(&reply) => {
                    rename(&mut reply, &asked);
                    self.success.of(&self.registry, query.server.address(), "").inc();
                    return Ok(Some(reply));
                }
                other if n == 0 => first = Some(other),
                _ => {}
            }
        }
        first.unwrap_or(Ok(None))
    }
}

/// Whether a name is there: any answer but NXDOMAIN (and those that no server is sure of).
fn has_found(reply: &Reply) -> bool {
    !matches!(reply.rcode(), Rcode::NXDOMAIN | Rcode::SERVFAIL | Rcode::REFUSED | Rcode::FORMERR | Rcode::NOTIMP)
}

/// Makes an answer one to `asked`: its question, and an alias from it to what was found.
fn rename(reply: &mut Reply, asked: &Name) {
    // What can't be read is no answer to the client either; the server says so.
    let Ok(message) = reply.message() else { return };
    if let Some(found) = message.answers.iter().find(|record| record.name != *asked) {
        let alias = Record::new(asked.clone(), Type::CNAME, found.ttl, Data::name(&found.name));
        message.answers.insert(0, alias);
    }
    if let Some(question) = message.questions.first_mut() {
        question.name = asked.clone();
    }
}

impl Plugin for Autopath {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if self.zones.of(query.name()).is_none() {
            return next.run(query);
        }
        let feed = query.server.services().feed.clone();
        if self.is_of_the_cluster(query.name()) && feed.is_awaited() && !query.is_dry() {
            // Whose Pod asks isn't known yet.
            return Box::pin(async move {
                feed.wait().await;
                self.find(query, next).await
            });
        }
        self.find(query, next)
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if !self.zones.take(fast) {
            return Step::Pass;
        }
        let Of::Pod(records) = &self.of else {
            let is_first = self.search.first().is_some_and(|first| fast.before(first.as_wire()).is_some());
            return if is_first { Step::Slow } else { Step::Pass };
        };
        let Some(records) = records.get() else { return Step::Pass };
        let records = records.load();
        let client = fast.from.ip().to_canonical();
        match records.namespace_at(client) {
            Some(namespace) if is_in(fast, &records, namespace) => Step::Slow,
            _ => Step::Pass,
        }
    }

    fn serves(&self, block: &Block, _: &[(Address, Name)]) {
        let Of::Pod(records) = &self.of else { return };
        if let Some(cluster) = block.plugins.iter().find_map(|plugin| plugin.cluster()) {
            // Told once; a second time it would be the same.
            let _ = records.set(cluster.clone());
        }
    }

    fn describe(&self) -> String {
        let zones: Vec<_> = self.zones.names().iter().map(Name::to_string).collect();
        let search: Vec<_> = self.search.iter().map(Name::to_string).collect();
        let of = if matches!(self.of, Of::Pod(_)) { "that of the client's Pod, then " } else { "" };
        format!("{}: search path {of}{}", zones.join(" "), search.join(" "))
    }
}

/// Whether the name that is asked for is below `NAMESPACE.svc.ZONE`.
fn is_in(fast: &Fast<'_>, records: &Records, namespace: &str) -> bool {
    let Some((zone, _)) = records.options().find(fast.plain.name()) else { return false };
    let Some(front) = fast.before(zone.name.as_wire()) else { return false };
    let Some(front) = front.strip_suffix(b"\x03svc") else { return false };
    let Some(front) = front.strip_suffix(namespace.as_bytes()) else { return false };
    front.len() > 1 && front.last().is_some_and(|length| usize::from(*length) == namespace.len())
}
