//! `whoami`: tells clients by which address and port they come. Also the shortest example of a plugin.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Reply, Serving, ready};
use crate::wire::{Data, Name, Record, Type};

struct Whoami;

/// `whoami`
///
/// # Errors
/// It has arguments.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_args()?;
        directive.no_body()?;
    }
    Ok(Some(Arc::new(Whoami)))
}

impl Plugin for Whoami {
    fn name(&self) -> &'static str {
        "whoami"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, _: Next<'a>) -> Serving<'a> {
        let (name, from, class) = (query.name().clone(), query.request.from, query.question.class);
        let rtype = if from.is_ipv4() { Type::A } else { Type::AAAA };
        let label = format!("_{}", query.request.transport.proto());
        let mut message = query.reply();
        message.flags.set_aa(true);
        message.additionals.push(Record { class, ..Record::new(name.clone(), rtype, 0, Data::address(from.ip())) });
        // A name that has no room for one more label has no such record.
        if let Ok(name) = name.prepend(label.as_bytes()) {
            let port = Data::srv(0, 0, from.port(), &Name::root());
            message.additionals.push(Record { class, ..Record::new(name, Type::SRV, 0, port) });
        }
        query.note(|| format!("answers {from}"));
        ready(Ok(Some(Reply::new(message, self.name()))))
    }
}
