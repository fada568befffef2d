//! `secondary`: zones that are taken from their primaries (AXFR) and kept up to date as their SOA says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Notify;

use self::book::Book;
use super::transfer::address;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query, Transferable};
use crate::plugins::shared::from_zone;
use crate::reply::{Reply, Serving, ready};
use crate::wire::{Name, Opcode};
use crate::zone::{Held, Slot, WholeZone, WholeZoneError};

mod book;
mod catalog;
mod client;
mod keep;
#[cfg(test)]
mod tests;

const NAME: &str = "secondary";

struct Secondary {
    book: Arc<Book>,
    fallthrough: Fallthrough,
}

/// A zone that is copied from elsewhere.
struct Copy {
    held: Held,
    /// Its primaries, in the order in which they are asked.
    from: Vec<SocketAddr>,
    /// A primary said that there is news.
    news: Notify,
    /// It is a catalog: which zones it may list; of none named, all.
    catalog: Option<Zones>,
}

/// `secondary [ZONES...] { transfer from ADDRESS...; catalog [MEMBER-ZONES...]; fallthrough [ZONES...] }`
///
/// # Errors
/// An option is wrong, or no primary is named.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut fallthrough = Fallthrough::default();
    let mut copies: Vec<Arc<Copy>> = Vec::new();
    for directive in directives {
        let names = Zones::read(directive, &directive.args, building)?;
        let (mut from, mut catalog) = (Vec::new(), None);
        for option in directive.body() {
            match option.name.as_str() {
                "transfer" => match option.args_between(2, usize::MAX)? {
                    [word, addresses @ ..] if word == "from" => {
                        for word in addresses {
                            from.push(address(option, word)?);
                        }
                    }
                    _ => return Err(option.error("takes `from ADDRESS...`; `transfer` of its own gives zones away")),
                },
                "fallthrough" => fallthrough = Fallthrough::read(option)?,
                "catalog" => catalog = Some(members(option, catalog)?),
                _ => return Err(option.unknown_option(&["transfer", "catalog", "fallthrough"])),
            }
        }
        if from.is_empty() {
            return Err(directive.error("has no primary; add `transfer from ADDRESS...`"));
        }
        for name in names.names() {
            // What was copied before the Corefile was read again is still good.
            let slot = building.services.kept.get(&format!("secondary {name} {from:?}"), Slot::empty);
            let held = Held::shared(name, building.block.changed_zones.clone(), slot);
            let copy = Arc::new(Copy { held, from: from.clone(), news: Notify::new(), catalog: catalog.clone() });
            copies.retain(|other| other.held.origin != *name);
            copies.push(copy);
        }
    }
    let book = Arc::new(Book::new(copies.clone(), building.block.changed_zones.clone()));
    for copy in copies {
        building.spawn(NAME, keep::run(copy, Some(book.clone())));
    }
    Ok(Some(Arc::new(Secondary { book, fallthrough })))
}

/// `catalog [MEMBER-ZONES...]`, which adds to what stands before it. One without zones lets all be listed.
fn members(option: &Directive, before: Option<Zones>) -> Result<Zones, CorefileError> {
    let named = Zones::named(option, &option.args)?;
    Ok(match before {
        None => named,
        Some(mut all) if !all.names().is_empty() && !named.names().is_empty() => {
            all.extend(&named);
            all
        }
        Some(_) => Zones::default(),
    })
}

impl Copy {
    fn is_primary(&self, address: IpAddr) -> bool {
        self.from.iter().any(|from| from.ip().to_canonical() == address)
    }
}

impl Plugin for Secondary {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(copy) = self.book.of(query.name()) else { return from_zone::not_here(NAME, query, next) };
        if query.flags.opcode() != Opcode::NOTIFY {
            return Box::pin(async move { from_zone::answer(&copy.held, &self.fallthrough, NAME, query, next).await });
        }
        let (zone, from) = (&copy.held.origin, query.request.from.ip());
        if !copy.is_primary(from) {
            tracing::info!(%zone, %from, "a NOTIFY that is from no primary goes unanswered");
            return ready(Ok(None));
        }
        tracing::info!(%zone, %from, "the primary says that there is news");
        copy.news.notify_one();
        let mut message = query.reply();
        message.flags.set_aa(true);
        ready(Ok(Some(Reply::new(message, NAME))))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if self.book.takes(fast) { Step::Slow } else { Step::Pass }
    }

    fn transferable(&self) -> Option<&dyn Transferable> {
        Some(self)
    }

    fn describe(&self) -> String {
        let zones = self.book.all();
        let zones = zones.iter().map(|copy| match copy.held.serial() {
            Some(serial) => format!("{} serial {serial} from {:?}", copy.held.origin, copy.from),
            None => format!("{} not copied yet from {:?}", copy.held.origin, copy.from),
        });
        zones.collect::<Vec<_>>().join(", ")
    }
}

impl Transferable for Secondary {
    fn zone(&self, zone: &Name) -> Option<Result<WholeZone, WholeZoneError>> {
        self.book.all().iter().find(|copy| copy.held.origin == *zone).map(|copy| copy.held.whole())
    }
}
