//! `auto`: zones from the zone files of a folder, which may come, change and go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use regex::Regex;

use super::file::Reader;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query, Transferable};
use crate::plugins::shared::from_zone;
use crate::reply::{Serving, ready};
use crate::wire::{Name, Opcode};
use crate::zone::{Held, WholeZone, WholeZoneError};

#[cfg(test)]
mod tests;

const NAME: &str = "auto";
/// The longest regular expression, as CoreDNS bounds it.
const MAX_REGEXP: usize = 10_000;
/// How deep folders are looked into.
const DEEPEST: usize = 32;

/// The zones that are there now.
type Found = Arc<ArcSwap<Vec<Arc<Held>>>>;

struct Auto {
    names: Zones,
    found: Found,
    folder: PathBuf,
    fallthrough: Fallthrough,
}

/// What looks at the folder.
struct Walker {
    folder: PathBuf,
    pattern: Regex,
    /// How a zone's name is made of a file's, in the form of [`Regex`]'s replacements.
    template: String,
    found: Found,
    readers: Vec<Reader>,
    changed: Option<tokio::sync::mpsc::UnboundedSender<Name>>,
}

/// `auto [ZONES...] { directory DIR [REGEXP ORIGIN_TEMPLATE]; reload DURATION }`
///
/// # Errors
/// An option is wrong, or no folder is named.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let Some((directive, before)) = directives.split_last() else { return Ok(None) };
    if let [before, ..] = before {
        return Err(directive.error(format!("stands twice in this block, at {} already; join the two", before.place)));
    }
    let names = Zones::read(directive, &directive.args, building)?;
    let mut folder = None;
    let mut pattern = Regex::new(r"db\.(.*)").map_err(|error| directive.error(error.to_string()))?;
    let mut template = "${1}".to_owned();
    let mut reload = Duration::from_secs(60);
    for option in directive.body() {
        match option.name.as_str() {
            "directory" => {
                let words = option.args_between(1, 3)?;
                folder = Some(building.path(option.arg(0).unwrap_or_default()));
                match words.get(1..).unwrap_or_default() {
                    [] => {}
                    [given, made] => {
                        pattern = self::pattern(option, given)?;
                        template = made.replace('{', "${");
                    }
                    _ => return Err(option.error("has a regular expression and no template; add one such as {1}")),
                }
            }
            "reload" => {
                option.one_arg()?;
                reload = option.duration(0)?;
            }
            // What CoreDNS once had, and still takes: aliases are always followed.
            "upstream" => {}
            _ => return Err(option.unknown_option(&["directory", "reload"])),
        }
    }
    let folder = folder.ok_or_else(|| directive.error("has no folder; add `directory DIR`"))?;
    if !folder.is_dir() {
        tracing::warn!(folder = %folder.display(), "the folder of zone files is not there yet");
    }
    let found = Found::default();
    let changed = building.block.changed_zones.clone();
    let mut walker =
        Walker { folder: folder.clone(), pattern, template, found: found.clone(), readers: Vec::new(), changed };
    walker.look();
    if !reload.is_zero() {
        building.spawn(NAME, async move {
            loop {
                tokio::time::sleep(reload).await;
                walker.look();
            }
        });
    }
    Ok(Some(Arc::new(Auto { names, found, folder, fallthrough: Fallthrough::default() })))
}

fn pattern(option: &Directive, given: &str) -> Result<Regex, CorefileError> {
    if given.len() > MAX_REGEXP {
        return Err(option.error(format!("the regular expression is longer than {MAX_REGEXP} bytes")));
    }
    let pattern = Regex::new(given).map_err(|error| option.error(format!("{given}: {error}")))?;
    if pattern.captures_len() < 2 {
        return Err(option.error(format!("{given} has no group; put the zone's name into ( )")));
    }
    Ok(pattern)
}

impl Walker {
    /// Takes zones of new files in, reads changed ones anew, and lets go of what is gone.
    fn look(&mut self) {
        let mut files = Vec::new();
        // A folder that is a link itself is looked into (Kubernetes mounts ConfigMaps so).
        let top = std::fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        list(&top, DEEPEST, &mut files);
        let mut seen: Vec<(Name, PathBuf)> = Vec::new();
        for path in files {
            let Some(origin) = self.origin(&path) else { continue };
            match seen.iter().find(|(other, _)| *other == origin) {
                Some((_, first)) => {
                    let (first, path) = (first.display(), path.display());
                    tracing::warn!(zone = %origin, %first, %path, "two files for one zone; the first is served");
                }
                None => seen.push((origin, path)),
            }
        }
        self.readers.retain(|reader| {
            let stays = seen.iter().any(|(origin, _)| *origin == reader.held.origin);
            if !stays {
                tracing::info!(zone = %reader.held.origin, "the zone's file is gone; it is served no more");
            }
            stays
        });
        for (origin, path) in seen {
            if let Some(reader) = self.readers.iter_mut().find(|reader| reader.held.origin == origin) {
                reader.path = path;
                reader.look();
                continue;
            }
            let held = Arc::new(Held::new(&origin, self.changed.clone()));
            let mut reader = Reader { held, path, by_time: false, modified: None };
            match reader.begin() {
                Ok(()) => {
                    tracing::info!(zone = %origin, path = %reader.path.display(), "serving the zone");
                    self.readers.push(reader);
                }
                Err(error) => tracing::warn!(zone = %origin, %error, "the zone is not served"),
            }
        }
        self.found.store(Arc::new(self.readers.iter().map(|reader| reader.held.clone()).collect()));
    }

    /// The zone that a file's name tells.
    fn origin(&self, path: &Path) -> Option<Name> {
        let file = path.file_name()?.to_str()?;
        let mut name = String::new();
        self.pattern.captures(file)?.expand(&self.template, &mut name);
        Some(Name::parse(&name).ok()?.to_lower())
    }
}

/// The files in a folder and below it, by their paths' order. A link to a folder is none.
fn list(folder: &Path, depth: usize, to: &mut Vec<PathBuf>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return tracing::warn!(folder = %folder.display(), %error, "the folder can't be read"),
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => list(&entry.path(), depth - 1, to),
            Ok(kind) if !kind.is_dir() => to.push(entry.path()),
            _ => {}
        }
    }
}

impl Plugin for Auto {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if self.names.of(query.name()).is_none() {
            return next.run(query);
        }
        let found = self.found.load();
        let within = found.iter().filter(|held| query.name().is_within(&held.origin));
        let Some(held) = within.max_by_key(|held| held.origin.label_count()).cloned() else {
            return from_zone::not_here(NAME, query, next);
        };
        // These zones have no primary that could send one.
        if query.flags.opcode() == Opcode::NOTIFY {
            return ready(Ok(None));
        }
        Box::pin(async move { from_zone::answer(&held, &self.fallthrough, NAME, query, next).await })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if self.names.take(fast) { Step::Slow } else { Step::Pass }
    }

    fn transferable(&self) -> Option<&dyn Transferable> {
        Some(self)
    }

    fn describe(&self) -> String {
        let zones: Vec<_> = self.found.load().iter().map(|held| held.origin.to_string()).collect();
        format!("{}: {}", self.folder.display(), zones.join(" "))
    }
}

impl Transferable for Auto {
    fn zone(&self, zone: &Name) -> Option<Result<WholeZone, WholeZoneError>> {
        self.found.load().iter().find(|held| held.origin == *zone).map(|held| held.whole())
    }
}
