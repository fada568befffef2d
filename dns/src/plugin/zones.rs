//! The zones that a directive names, and where questions fall through.

use super::Building;
use crate::corefile::key::zones_of;
use crate::corefile::{CorefileError, Directive};
use crate::fast::Fast;
use crate::wire::Name;

#[cfg(test)]
mod tests;

/// Zones, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(Vec<Name>);

impl Zones {
    /// Of these names.
    pub fn new(names: impl IntoIterator<Item = Name>) -> Zones {
        Zones(names.into_iter().map(|name| name.to_lower()).collect())
    }

    /// The zones that `args` of a directive name; where it names none, those of the server block.
    ///
    /// # Errors
    /// One of them is no zone.
    pub fn read(directive: &Directive, args: &[String], building: &Building<'_>) -> Result<Zones, CorefileError> {
        if args.is_empty() { Ok(Zones::new(building.zones.iter().cloned())) } else { Zones::named(directive, args) }
    }

    /// The zones that `args` of a directive name.
    ///
    /// # Errors
    /// One of them is no zone.
    pub fn named(directive: &Directive, args: &[String]) -> Result<Zones, CorefileError> {
        let mut zones = Vec::new();
        for arg in args {
            zones.extend(zones_of(arg).map_err(|reason| directive.error(reason))?);
        }
        Ok(Zones::new(zones))
    }

    /// The longest zone that a name is within.
    pub fn of(&self, name: &Name) -> Option<&Name> {
        let within = self.0.iter().filter(|zone| name.is_within(zone));
        within.max_by_key(|zone| zone.as_wire().len())
    }

    /// Whether the name that is asked for is within one of them.
    pub fn take(&self, fast: &Fast<'_>) -> bool {
        self.0.iter().any(|zone| fast.before(zone.as_wire()).is_some())
    }

    /// All of them, in the order of the Corefile.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Adds others.
    pub fn extend(&mut self, others: &Zones) {
        self.0.extend(others.0.iter().cloned());
    }
}

/// Which names that a plugin does not know go on to the next one (`fallthrough [ZONES...]`): none unless it is given,
/// all where it names no zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallthrough(Zones);

impl Fallthrough {
    /// Reads the option.
    ///
    /// # Errors
    /// An argument is no zone.
    pub fn read(option: &Directive) -> Result<Fallthrough, CorefileError> {
        if option.args.is_empty() {
            return Ok(Fallthrough(Zones::new([Name::root()])));
        }
        Ok(Fallthrough(Zones::named(option, &option.args)?))
    }

    /// Whether a name goes on.
    pub fn lets(&self, name: &Name) -> bool {
        self.0.of(name).is_some()
    }

    /// Whether any name goes on.
    pub fn is_given(&self) -> bool {
        !self.0.0.is_empty()
    }

    /// Whether the name that is asked for goes on.
    pub fn takes(&self, fast: &Fast<'_>) -> bool {
        self.0.take(fast)
    }
}
