//! `chaos`: answers for texts of class CH that tell of the server: `version.bind`, `authors.bind`, `hostname.bind`
//! (RFC 4892).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Reply, Serving, ready};
use crate::wire::{Class, Data, Record, Type};

/// The longest text of a TXT record.
const LONGEST: usize = 255;

struct Chaos {
    version: String,
    authors: Vec<String>,
    host: String,
}

/// The name of this host, as the kernel has it.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn text(text: &str) -> String {
    text.chars()
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= LONGEST).then_some(c)
        })
        .collect()
}

/// `chaos [VERSION] [AUTHORS...]`
///
/// # Errors
/// It has a block.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut version = format!("Bowline-{}", building.services.version);
    let mut authors = BTreeSet::from(["the authors of Bowline".to_owned()]);
    for directive in directives {
        directive.no_body()?;
        if let Some((first, rest)) = directive.args.split_first() {
            version.clone_from(first);
            if !rest.is_empty() {
                authors = rest.iter().map(|author| text(author)).collect();
            }
        }
    }
    building.block.takes_any_class = true;
    let host = text(&host_name());
    Ok(Some(Arc::new(Chaos { version: text(&version), authors: authors.into_iter().collect(), host })))
}

impl Chaos {
    fn texts(&self, query: &Query) -> Option<Vec<&String>> {
        if query.class() != Class::CH || query.rtype() != Type::TXT {
            return None;
        }
        Some(match query.name().to_string().to_ascii_lowercase().as_str() {
            "version.bind." | "version.server." => vec![&self.version],
            "hostname.bind." | "id.server." => vec![&self.host],
            "authors.bind." => {
                let mut authors: Vec<_> = self.authors.iter().collect();
                fastrand::shuffle(&mut authors);
                authors
            }
            _ => return None,
        })
    }
}

impl Plugin for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(texts) = self.texts(query) else { return next.run(query) };
        let mut message = query.reply();
        for text in texts {
            let data = Data::txt(&[text.as_bytes()]);
            message.answers.push(Record { class: Class::CH, ..Record::new(query.name().clone(), Type::TXT, 0, data) });
        }
        query.note(|| "tells of the server".to_owned());
        ready(Ok(Some(Reply::new(message, self.name()))))
    }

    fn fast<'a>(&'a self, _: &mut Fast<'a>) -> Step {
        Step::Pass // A plain question is of class IN.
    }

    fn describe(&self) -> String {
        format!("version {:?}", self.version)
    }
}
