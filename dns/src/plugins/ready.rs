//! `ready`: a page that says whether all plugins can do their work, or names those that can't.
//!
//! Beyond CoreDNS: `stale DURATION` says not ready once the state of the cluster can't be read for so long. Answers go
//! on; it is for those who would rather have clients asked elsewhere.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::corefile::{CorefileError, Directive};
use crate::feed::Feed;
use crate::plugin::{Block, Building, Plugin, Reports, Services};
use bowline_observe::pages::Page;

#[cfg(test)]
mod tests;

const ADDRESS: &str = ":8181";

/// `ready [ADDRESS] { monitor until-ready|continuously; stale DURATION }`
///
/// # Errors
/// The address can't be read, or an option is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    let address = directive.args_between(0, 1)?.first().map_or(ADDRESS, String::as_str);
    let mut reports = Reports::default();
    for option in directive.body() {
        match (option.name.as_str(), option.one_arg()) {
            ("monitor", arg) => {
                reports.continuously = match arg? {
                    "until-ready" => false,
                    "continuously" => true,
                    other => {
                        return Err(option.error(format!("{other:?} is neither until-ready nor continuously")));
                    }
                };
            }
            ("stale", arg) => {
                arg?;
                reports.stale = Some(option.duration(0)?);
            }
            _ => return Err(option.unknown_option(&["monitor", "stale"])),
        }
    }
    building.block.ready = Some(reports);
    let (services, seen) = (building.services.clone(), Seen::default());
    let page = Arc::new(move |blocks: &[Arc<Block>]| page(blocks, &services, &seen));
    building.page(address, "/ready", page).map_err(|message| directive.error(message))?;
    Ok(None)
}

/// Plugins that were ready once, by the number of their block and their name.
type Seen = Mutex<HashSet<(usize, &'static str)>>;

/// The page, of all blocks that report.
fn page(blocks: &[Arc<Block>], services: &Services, seen: &Seen) -> Page {
    if services.is_ending.load(Ordering::Relaxed) {
        return Page::text(503, "Shutting down");
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut missing: Vec<&str> = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let Some(reports) = block.config.ready else { continue };
        for plugin in &block.plugins {
            let key = (number, plugin.name());
            if !reports.continuously && seen.contains(&key) {
                continue;
            }
            match plugin.not_ready() {
                None => drop(seen.insert(key)),
                Some(reason) => {
                    tracing::debug!(plugin = plugin.name(), reason, "not ready");
                    missing.push(plugin.name());
                }
            }
        }
        if is_stale(reports, &services.feed) {
            missing.push("state");
        }
    }
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Page::text(200, "OK");
    }
    let missing = missing.join(",");
    tracing::info!("plugin/ready: Plugins not ready: \"{missing}\"");
    Page::text(503, missing)
}

/// Whether the state can't be read for longer than is wanted.
fn is_stale(reports: Reports, feed: &Feed) -> bool {
    let Some(longest) = reports.stale else { return false };
    feed.away_since().is_some_and(|(since, _)| Instant::now().saturating_duration_since(since) >= longest)
}
