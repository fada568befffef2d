//! `view`: a server block takes only the questions for which an expression is true (split DNS).

use std::collections::BTreeMap;
use std::sync::Arc;

use self::expression::Expression;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{self, Building, Next, Plugin, Query};
use crate::reply::Serving;

pub mod expression;
#[cfg(test)]
mod tests;

struct View {
    name: String,
}

/// `view NAME { expr EXPRESSION … }`; all expressions must be true.
///
/// # Errors
/// It is there twice, or an expression is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive, rest @ ..] = directives else { return Ok(None) };
    if let Some(second) = rest.first() {
        return Err(second.error("is there already; write all expressions into one view"));
    }
    let name = directive.one_arg()?.to_owned();
    let mut filters: Vec<plugin::Filter> = Vec::new();
    for line in directive.body() {
        if line.name != "expr" {
            return Err(line.unknown_option(&["expr"]));
        }
        line.no_body()?;
        let text = line.args_between(1, usize::MAX)?.join(" ");
        let expression =
            Expression::parse(&text).map_err(|wrong| line.error(format!("the expression {text:?}, {wrong}")))?;
        filters.push(Arc::new(move |query: &Query| expression.is_true(query)));
    }
    building.block.view = Some(plugin::View { name: name.clone(), filters });
    Ok(Some(Arc::new(View { name })))
}

impl Plugin for View {
    fn name(&self) -> &'static str {
        "view"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        next.run(query) // The server has looked already.
    }

    fn fast<'a>(&'a self, _: &mut Fast<'a>) -> Step {
        Step::Pass
    }

    fn metadata(&self, _: &Query, into: &mut BTreeMap<String, String>) {
        into.insert("view/name".to_owned(), self.name.clone());
    }

    fn describe(&self) -> String {
        format!("is {:?}", self.name)
    }
}
