//! `file`: zones from zone files (RFC 1035 §5), read anew when their serial changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bowline_cluster::span::exact;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query, Transferable};
use crate::plugins::shared::from_zone;
use crate::reply::{Serving, ready};
use crate::wire::text::zone::ZoneError;
use crate::wire::{Name, Opcode};
use crate::zone::{Held, WholeZone, WholeZoneError, Zone};

#[cfg(test)]
mod tests;

const NAME: &str = "file";

struct File {
    names: Zones,
    zones: Vec<Arc<Held>>,
    fallthrough: Fallthrough,
}

/// What reads a zone file anew.
pub(super) struct Reader {
    /// The zone.
    pub(super) held: Arc<Held>,
    /// Its file.
    pub(super) path: PathBuf,
    /// Whether its modification time says that it has changed, and not its serial.
    pub(super) by_time: bool,
    /// When it was modified, at the last read.
    pub(super) modified: Option<SystemTime>,
}

impl Reader {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It can't be read, or is wrong.
    pub(super) fn begin(&mut self) -> Result<(), ZoneError> {
        self.modified = modified(&self.path);
        let zone = Zone::load(&self.path, &self.held.origin, None)?;
        if let Some(zone) = zone {
            self.held.set(zone);
        }
        Ok(())
    }

    /// Reads the file if it has changed. What is wrong is told, and the zone stays as it was.
    pub(super) fn look(&mut self) {
        let now = modified(&self.path);
        if self.by_time && now.is_some() && now == self.modified {
            return;
        }
        let unless = if self.by_time { None } else { self.held.serial() };
        let (path, zone) = (self.path.display(), &self.held.origin);
        match Zone::load(&self.path, zone, unless) {
            Ok(Some(read)) => {
                tracing::info!(%zone, %path, serial = read.soa().serial, "the zone was read anew");
                self.held.set(read);
                self.modified = now;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%zone, %error, "the zone was not read anew; the one before goes on"),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// `file DBFILE [ZONES...] { reload DURATION; reload_by_mtime; fallthrough [ZONES...] }`
///
/// # Errors
/// An option is wrong, or a zone file is.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut file = File { names: Zones::default(), zones: Vec::new(), fallthrough: Fallthrough::default() };
    for directive in directives {
        let words = directive.args_between(1, usize::MAX)?;
        let path = building.path(directive.arg(0).unwrap_or_default());
        let names = Zones::read(directive, words.get(1..).unwrap_or_default(), building)?;
        let (mut reload, mut by_time) = (Duration::from_secs(60), false);
        for option in directive.body() {
            match option.name.as_str() {
                "fallthrough" => file.fallthrough = Fallthrough::read(option)?,
                "reload" => reload = option.duration(0)?,
                "reload_by_mtime" => by_time = true,
                // What CoreDNS once had, and still takes: aliases are always followed.
                "upstream" => {}
                _ => return Err(option.unknown_option(&["fallthrough", "reload", "reload_by_mtime"])),
            }
        }
        for name in names.names() {
            let held = Arc::new(Held::new(name, building.block.changed_zones.clone()));
            let mut reader = Reader { held: held.clone(), path: path.clone(), by_time, modified: None };
            if let Err(error) = reader.begin() {
                if path.exists() || reload.is_zero() {
                    return Err(directive.error(error.to_string()));
                }
                tracing::warn!(path = %path.display(), "the zone file is not there yet; looking again in {}", exact(reload));
            }
            // The last directive for a zone counts.
            file.zones.retain(|other| other.origin != *name);
            file.zones.push(held);
            if !reload.is_zero() {
                building.spawn(NAME, async move {
                    loop {
                        tokio::time::sleep(reload).await;
                        reader.look();
                    }
                });
            }
        }
        file.names.extend(&names);
    }
    Ok(Some(Arc::new(file)))
}

impl File {
    fn held(&self, name: &Name) -> Option<&Held> {
        let zone = self.names.of(name)?;
        self.zones.iter().find(|held| held.origin == *zone).map(Arc::as_ref)
    }
}

impl Plugin for File {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(held) = self.held(query.name()) else { return from_zone::not_here(NAME, query, next) };
        // These zones have no primary that could send one.
        if query.flags.opcode() == Opcode::NOTIFY {
            return ready(Ok(None));
        }
        Box::pin(from_zone::answer(held, &self.fallthrough, NAME, query, next))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if self.names.take(fast) { Step::Slow } else { Step::Pass }
    }

    fn transferable(&self) -> Option<&dyn Transferable> {
        Some(self)
    }

    fn describe(&self) -> String {
        let zones = self.zones.iter().map(|held| match held.serial() {
            Some(serial) => format!("{} serial {serial}", held.origin),
            None => format!("{} not read yet", held.origin),
        });
        zones.collect::<Vec<_>>().join(", ")
    }
}

impl Transferable for File {
    fn zone(&self, zone: &Name) -> Option<Result<WholeZone, WholeZoneError>> {
        self.zones.iter().find(|held| held.origin == *zone).map(|held| held.whole())
    }
}
