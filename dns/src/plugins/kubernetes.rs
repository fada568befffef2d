//! `kubernetes`: the names of the cluster.
//!
//! The answers are made in [`crate::records`], when the state changes. Here is what the directive says of them, and how
//! they become replies: as they are where they can be, with an ExternalName's target asked for where that is needed.
//!
//! Before the state was read whole, questions for its zones wait for it, as long as `startup_timeout` says from the start
//! on; then they are SERVFAIL. Nothing falls through: a name that is not known yet is none that does not exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::cluster::Cluster;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, QUESTION, Section, Step};
use crate::feed::Feed;
use crate::plugin::zones::Fallthrough;
use crate::plugin::{Building, Next, Plugin, Query, Transferable};
use crate::records::{Answer, Asked, Found, Options, Parts, PodMode, Records};
use crate::reply::{QueryError, Reply, Serving, ready};
use crate::wire::{Name, Rcode};
use crate::zone::{WholeZone, WholeZoneError};

mod chase;
mod cluster;
mod local;
mod options;
#[cfg(test)]
mod tests;

const NAME: &str = "kubernetes";

struct Kubernetes {
    options: Arc<Options>,
    cluster: Arc<Cluster>,
    feed: Arc<Feed>,
    fallthrough: Fallthrough,
}

/// `kubernetes [ZONES...] { … }`
///
/// # Errors
/// An option is wrong, or the directive stands twice in a block.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive] = directives else {
        let again = directives.get(1).map(|again| again.error("stands twice in this block; join the two"));
        return again.map_or(Ok(None), Err);
    };
    let (options, fallthrough) = options::read(building, directive)?;
    // A reload keeps what was compiled under the same options.
    let key = format!("{options:?}");
    let cluster = building.services.kept.get(&key, || Cluster::new(options, building.services.metrics.clone()));
    Cluster::follow(&cluster, &building.services.feed);
    let options = cluster.published().load().shared_options().clone();
    let feed = building.services.feed.clone();
    Ok(Some(Arc::new(Kubernetes { options, cluster, feed, fallthrough })))
}

impl Kubernetes {
    /// Answers from what is known now.
    fn answer<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let lower = query.name().to_lower();
        let Some((zone, front)) = self.options.find(lower.as_wire()) else { return next.run(query) };
        let records = self.cluster.published().load_full();
        let answer = records.resolve(zone, lower.as_wire().get(..front).unwrap_or_default(), query.rtype());
        query.note(|| said(&answer));
        match &answer.found {
            Found::NoName if self.fallthrough.lets(&lower) => {
                query.note(|| "falls through".to_owned());
                next.run(query)
            }
            Found::ServeError => ready(Err(QueryError::bare(NAME, Rcode::REFUSED))),
            Found::External(_) => Box::pin(chase::serve(records.clone(), zone, query)),
            _ => ready(Ok(Some(reply(query, &answer)))),
        }
    }
}

impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let is_here = || self.options.find(query.name().to_lower().as_wire()).is_some();
        if self.cluster.published().load().is_synced() || query.is_dry() || !is_here() || !self.feed.is_awaited() {
            return self.answer(query, next);
        }
        Box::pin(async move {
            self.feed.wait().await;
            self.answer(query, next).await
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let name = fast.plain.name();
        let Some((zone, front)) = self.options.find(name) else { return Step::Pass };
        let records = self.cluster.published().load();
        let answer = records.resolve(zone, name.get(..front).unwrap_or_default(), fast.plain.rtype());
        let none = Section::default();
        match &answer.found {
            Found::NoName if self.fallthrough.takes(fast) => Step::Pass,
            _ if !fast.lets(answer.ttl()) => Step::Slow,
            Found::ServeError | Found::External(_) => Step::Slow,
            Found::NotReady if self.feed.is_awaited() => Step::Slow,
            Found::Rrset(rrset) if fast.nearest && rrset.is_of_endpoints() => Step::Slow,
            Found::Rrset(rrset) => {
                let Ok(count) = u16::try_from(rrset.len()) else { return Step::Slow };
                let section = Section { bytes: rrset.bytes(), count, stride: rrset.stride() };
                fast.respond(NAME, Rcode::NOERROR, true, section, none, none)
            }
            _ => {
                let (packet, length) = (fast.packet, fast.plain.name().len());
                let asked = Asked { name: packet.get(QUESTION..QUESTION + length).unwrap_or_default(), front };
                fast.compose(NAME, answer.rcode(), true, |room| answer.write(asked, room))
            }
        }
    }

    fn metadata(&self, query: &Query, into: &mut BTreeMap<String, String>) {
        let records = self.cluster.published().load();
        let mut put = |label: &str, value: String| drop(into.insert(format!("kubernetes/{label}"), value));
        if let Some(pod) = records.pod_at(query.request.from.ip().to_canonical()) {
            put("client-namespace", pod.name.namespace.to_string());
            put("client-pod-name", pod.name.name.to_string());
            pod.labels.iter().for_each(|(key, value)| put(&format!("client-label/{key}"), value.to_string()));
        }
        let lower = query.name().to_lower();
        let Some((zone, front)) = self.options.find(lower.as_wire()) else { return };
        match Parts::read(lower.as_wire().get(..front).unwrap_or_default(), zone, &self.options) {
            Err(error) => put("parse-error", error.to_string()),
            Ok(parts) => {
                put("port-name", parts.port);
                put("protocol", parts.protocol);
                put("endpoint", parts.endpoint);
                if zone.is_multicluster {
                    put("cluster", parts.cluster);
                }
                if self.options.zonal {
                    put("zone", parts.zone);
                }
                put("service", parts.service);
                put("namespace", parts.namespace);
                put("kind", parts.kind);
            }
        }
    }

    fn transferable(&self) -> Option<&dyn Transferable> {
        Some(self)
    }

    fn cluster(&self) -> Option<&Arc<ArcSwap<Records>>> {
        Some(self.cluster.published())
    }

    fn not_ready(&self) -> Option<String> {
        let is_synced = self.cluster.published().load().is_synced();
        (!is_synced).then(|| "the cluster's state has not been read whole yet".to_owned())
    }

    fn describe(&self) -> String {
        let zones: Vec<String> = self.options.zones.iter().map(|zone| zone.name.to_string()).collect();
        let pods = match self.options.pods {
            PodMode::Disabled => "disabled",
            PodMode::Insecure => "insecure",
            PodMode::Verified => "verified",
        };
        let fallthrough = if self.fallthrough.is_given() { ", some names fall through" } else { "" };
        format!("{}; ttl {}, pods {pods}{fallthrough}", zones.join(" "), self.options.ttl)
    }
}

impl Transferable for Kubernetes {
    fn zone(&self, name: &Name) -> Option<Result<WholeZone, WholeZoneError>> {
        let zone = self.options.zones.iter().find(|zone| zone.name == *name)?;
        let whole = self.cluster.published().load_full().transfer(zone);
        Some(whole.ok_or(WholeZoneError::Cluster).map(|(soa, records)| WholeZone { soa, records: Box::new(records) }))
    }
}

/// An answer that is there, as a reply.
fn reply(query: &Query, answer: &Answer<'_>) -> Reply {
    let mut message = query.reply();
    message.flags.set_aa(true);
    message.set_rcode(answer.rcode());
    let sections = answer.sections(query.name());
    message.answers = sections.answers;
    message.authorities = sections.authorities;
    message.additionals = sections.additionals;
    Reply::new(message, NAME).watched()
}

/// What was found, for `explain`.
fn said(answer: &Answer<'_>) -> String {
    let what = match &answer.found {
        Found::NotReady => "the state has not been read whole yet: SERVFAIL".to_owned(),
        Found::NoName => "no such name".to_owned(),
        Found::NoData => "the name is there, without records of this type".to_owned(),
        Found::ServeError => "transfers are refused here; see the plugin transfer".to_owned(),
        Found::Rrset(rrset) => format!("{} addresses", rrset.len()),
        Found::Addresses(addresses) => format!("{} addresses", addresses.len()),
        Found::Services(_) => "SRV records".to_owned(),
        Found::Alias(target) => format!("an alias of {target}"),
        Found::External(target) => format!("an alias; asks for {target}"),
        Found::Pointers(names) => format!("{} names", names.len()),
        Found::Soa => "the zone's SOA".to_owned(),
        Found::NameServers(_) => "the zone's name servers".to_owned(),
        Found::Text(text) => format!("the text {text:?}"),
    };
    format!("zone {}: {what}", answer.zone().name)
}
