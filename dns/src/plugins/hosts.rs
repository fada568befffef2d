//! `hosts`: names and addresses from a file like /etc/hosts, and from the Corefile itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use self::table::{Options, Set, Table};
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Section, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{QueryError, Reply, Serving, ready};
use crate::wire::{Rcode, Type};
use bowline_observe::metrics::{Gauge, Registry};

mod table;
#[cfg(test)]
mod tests;

const NAME: &str = "hosts";

struct Hosts {
    file: Arc<File>,
    inline: Table,
    zones: Zones,
    fallthrough: Fallthrough,
    /// Types other than A, AAAA and PTR are passed on as well.
    passes_other_types: bool,
}

/// The file, as it was read last.
struct File {
    path: PathBuf,
    table: ArcSwap<Table>,
}

/// What reads the file anew.
struct Reader {
    file: Arc<File>,
    zones: Zones,
    options: Options,
    inline_entries: usize,
    entries: Arc<Gauge>,
    reloaded: Arc<Gauge>,
    /// Modification time and length of what was read.
    seen: Option<(SystemTime, u64)>,
}

impl Reader {
    /// Reads the file if it is another one than before. What can't be read leaves the last one.
    fn look(&mut self) {
        let Ok(about) = std::fs::metadata(&self.file.path) else { return };
        let Ok(modified) = about.modified() else { return };
        if self.seen == Some((modified, about.len())) {
            return;
        }
        let Ok(text) = std::fs::read(&self.file.path) else { return };
        let table = Table::read(&String::from_utf8_lossy(&text), &self.zones, self.options);
        self.entries.set((table.entries + self.inline_entries) as f64);
        self.reloaded.set(modified.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()));
        self.file.table.store(Arc::new(table));
        self.seen = Some((modified, about.len()));
    }
}

/// `hosts [FILE [ZONES...]] { INLINE; ttl; no_reverse; reload; fallthrough; fallthrough_unsupported }`
///
/// # Errors
/// An option is wrong, or it stands twice in a block.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive] = directives else {
        let again = directives.get(1).map(|again| again.error("stands twice in this block; join the two"));
        return again.map_or(Ok(None), Err);
    };
    let written = directive.arg(0).unwrap_or("/etc/hosts");
    let path = building.path(written);
    if !path.is_file() {
        tracing::warn!(path = %path.display(), "the hosts file is not there yet");
    }
    let zones = Zones::read(directive, directive.args.get(1..).unwrap_or_default(), building)?;
    let mut options = Options { ttl: 3600, reverse: true };
    let mut reload = Duration::from_secs(5);
    let mut fallthrough = Fallthrough::default();
    let mut passes_other_types = None;
    let mut inline = String::new();
    for option in directive.body() {
        match option.name.as_str() {
            "fallthrough" => fallthrough = Fallthrough::read(option)?,
            "fallthrough_unsupported" => {
                option.no_args()?;
                passes_other_types = Some(option);
            }
            "no_reverse" => options.reverse = false,
            "ttl" => {
                let wanted = "a number of seconds from 1 to 65535";
                options.ttl = option.parse(0, wanted)?;
                if !(1..=65535).contains(&options.ttl) {
                    return Err(option.error(format!("{} is not {wanted}", options.ttl)));
                }
            }
            "reload" => {
                option.one_arg()?;
                reload = option.duration(0)?;
            }
            _ if fallthrough.is_given() => {
                let known = ["fallthrough", "fallthrough_unsupported", "no_reverse", "ttl", "reload"];
                let mut problem = option.unknown_option(&known);
                problem.message.push_str("; lines of a hosts file stand before fallthrough");
                return Err(problem);
            }
            address => {
                inline.extend([address, " ", &option.args.join(" "), "\n"]);
            }
        }
    }
    if let Some(option) = passes_other_types.filter(|_| !fallthrough.is_given()) {
        return Err(option.error("needs fallthrough"));
    }
    let inline = Table::read(&inline, &zones, options);
    let file = Arc::new(File { path, table: ArcSwap::default() });
    let metrics = &building.services.metrics;
    // As CoreDNS, which puts a path into `root`'s folder and leaves it alone otherwise.
    let has_root = building.directives.iter().any(|name| name == "root");
    let label = if has_root { file.path.display().to_string() } else { written.to_owned() };
    let help = "The combined number of entries in hosts and Corefile.";
    let mut reader = Reader {
        file: file.clone(),
        zones: zones.clone(),
        options,
        inline_entries: inline.entries,
        entries: metrics.gauge("coredns_hosts_entries", help, &[("hostsfile", &label)]),
        reloaded: reloaded(metrics),
        seen: None,
    };
    reader.look();
    if !reload.is_zero() {
        building.spawn(NAME, async move {
            loop {
                tokio::time::sleep(reload).await;
                reader.look();
            }
        });
    }
    let passes_other_types = passes_other_types.is_some();
    Ok(Some(Arc::new(Hosts { file, inline, zones, fallthrough, passes_other_types })))
}

/// When a hosts file was changed that is read, in seconds since 1970; 0 before any was read. One for all files.
pub(super) fn reloaded(metrics: &Registry) -> Arc<Gauge> {
    let help = "The timestamp of the last reload of hosts file.";
    metrics.gauge("coredns_hosts_reload_timestamp_seconds", help, &[])
}

impl Hosts {
    /// The records of both tables for a name in lower case, the file's first.
    fn find<'a>(&'a self, file: &'a Table, name: &[u8], rtype: Type) -> [Option<&'a Set>; 2] {
        [file, &self.inline].map(|table| match rtype {
            Type::PTR => table.reverse(name),
            _ => table.addresses(name, rtype),
        })
    }

    /// Whether a name has any address.
    fn has_address(&self, file: &Table, name: &[u8]) -> bool {
        [Type::A, Type::AAAA].iter().any(|rtype| self.find(file, name, *rtype).iter().any(Option::is_some))
    }

    /// Whether the next plugin is asked without a look. The names of addresses need no zone to be looked up.
    fn is_for_others(&self, rtype: Type, is_in_zone: bool, falls_through: bool) -> bool {
        let is_other_type = !matches!(rtype, Type::A | Type::AAAA | Type::PTR);
        (rtype != Type::PTR && !is_in_zone) || (is_other_type && self.passes_other_types && falls_through)
    }
}

impl Plugin for Hosts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let (lower, rtype) = (query.name().to_lower(), query.rtype());
        let falls_through = self.fallthrough.lets(&lower);
        if self.is_for_others(rtype, self.zones.of(&lower).is_some(), falls_through) {
            return next.run(query);
        }
        let file = self.file.table.load();
        let found = self.find(&file, lower.as_wire(), rtype);
        let records: Vec<_> = found.into_iter().flatten().flat_map(|set| set.records(query.name())).collect();
        if records.is_empty() {
            if rtype == Type::PTR {
                return next.run(query);
            }
            if !self.has_address(&file, lower.as_wire()) {
                if falls_through {
                    return next.run(query);
                }
                // A hosts file has no SOA, which NXDOMAIN needs.
                return ready(Err(QueryError::bare(NAME, Rcode::SERVFAIL)));
            }
        }
        let mut message = query.reply();
        message.flags.set_aa(true);
        query.note(|| format!("{} records from {} and the Corefile", records.len(), self.file.path.display()));
        message.answers = records;
        ready(Ok(Some(Reply::new(message, NAME))))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let (lower, rtype) = (fast.plain.name(), fast.plain.rtype());
        let falls_through = self.fallthrough.takes(fast);
        if self.is_for_others(rtype, self.zones.take(fast), falls_through) {
            return Step::Pass;
        }
        let file = self.file.table.load();
        let none = Section::default();
        match self.find(&file, lower, rtype) {
            [Some(_), Some(_)] => Step::Slow,
            // A cache in front keeps it.
            [Some(_), None] | [None, Some(_)] if fast.ttls.is_some() => Step::Slow,
            [Some(set), None] | [None, Some(set)] => {
                fast.respond(NAME, Rcode::NOERROR, true, set.section(), none, none)
            }
            [None, None] if rtype == Type::PTR => Step::Pass,
            [None, None] if self.has_address(&file, lower) && fast.ttls.is_none() => {
                fast.respond(NAME, Rcode::NOERROR, true, none, none, none)
            }
            [None, None] if falls_through && !self.has_address(&file, lower) => Step::Pass,
            [None, None] => Step::Slow,
        }
    }

    fn describe(&self) -> String {
        let entries = self.file.table.load().entries;
        format!("{} ({entries} entries) and {} entries of the Corefile", self.file.path.display(), self.inline.entries)
    }
}
