//! `rewrite`: changes questions on their way in, and their answers on the way out so that clients do not notice.
//!
//! Rules are tried in the order of the Corefile, each on what those before made of the question; the first that applies
//! is the last, unless it says `continue`. What they do to the answer is done in the opposite order.

use std::sync::Arc;

use self::response::Response;
use self::rule::Rule;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Body, Outcome, QueryError, Reply, Serving, ready};
use crate::wire::name_text::NameText;
use crate::wire::{Question, Type};

mod edns0;
mod matcher;
mod name;
mod response;
mod rule;
#[cfg(test)]
mod tests;

struct Rewrite {
    rules: Vec<Rule>,
}

/// `rewrite [continue|stop] FIELD …`, one rule each, or the same words in braces.
///
/// # Errors
/// A rule is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut rules = Vec::new();
    for directive in directives {
        let mut words = directive.args.clone();
        if directive.args.len() > 1 {
            directive.no_body()?;
        }
        for line in directive.body() {
            line.no_body()?;
            words.push(line.name.clone());
            words.extend(line.args.iter().cloned());
        }
        let rule = Rule::read(&words).map_err(|why| directive.error(why))?;
        building.block.echoed_options.extend(rule.local_option());
        rules.push(rule);
    }
    Ok(Some(Arc::new(Rewrite { rules })))
}

/// What has to be undone when the answer is there.
struct Undo {
    question: Question,
    had_edns: bool,
    responses: Vec<Response>,
}

impl Rewrite {
    /// Applies the rules; None if none of them does.
    fn apply(&self, query: &mut Query) -> Result<Option<Undo>, QueryError> {
        let mut undo: Option<Undo> = None;
        let (question, had_edns) = (query.question.clone(), query.edns.is_some());
        for rule in &self.rules {
            let mut responses = Vec::new();
            match rule.apply(query, &mut responses) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(why) => {
                    query.question = question;
                    return Err(QueryError::servfail("rewrite", why));
                }
            }
            let question = question.clone();
            let undo = undo.get_or_insert(Undo { question, had_edns, responses: Vec::new() });
            undo.responses.append(&mut responses);
            if rule.is_last {
                break;
            }
        }
        Ok(undo)
    }

    async fn serve_rewritten(query: &mut Query, next: Next<'_>, undo: Undo) -> Outcome {
        let mut outcome = next.run(&mut *query).await;
        let is_renamed = query.question != undo.question || !query.name().eq_exact(&undo.question.name);
        let asked = query.rtype();
        query.question = undo.question;
        match &mut outcome {
            Ok(Some(reply)) if is_renamed || !undo.responses.is_empty() || matches!(reply.body, Body::Message(_)) => {
                respond(query, reply, asked, &undo.responses).await;
            }
            Ok(_) => {}
            Err(failure) => {
                for response in undo.responses.iter().rev() {
                    response.change_rcode(&mut failure.rcode);
                }
            }
        }
        if undo.had_edns {
            if let Some(edns) = &mut query.edns {
                undo.responses.iter().rev().for_each(|response| response.change_options(edns));
            }
        } else {
            // The client gets no EDNS where it sent none (RFC 6891 §7), and not more than 512 bytes.
            query.edns = None;
        }
        outcome
    }
}

/// Changes an answer. Bytes of an upstream that are no message go on to whoever can say so.
async fn respond(query: &mut Query, reply: &mut Reply, asked: Type, responses: &[Response]) {
    // Records that an alias was led to are not changed: they are another question's answer.
    let mut kept = usize::MAX;
    for response in responses.iter().rev() {
        if let Response::Alias(rule) = response {
            if let Some(own) = rule.redirect(query, reply, asked).await {
                kept = kept.min(own);
            }
            continue;
        }
        let Ok(message) = reply.message() else { return };
        let kept = kept.min(message.answers.len());
        let answers = message.answers[..kept].iter_mut();
        for record in message.authorities.iter_mut().chain(answers).chain(&mut message.additionals) {
            response.change_record(record);
        }
        let mut rcode = message.rcode();
        response.change_rcode(&mut rcode);
        message.set_rcode(rcode);
        if let Some(edns) = &mut message.edns {
            response.change_options(edns);
        }
    }
    if let Ok(message) = reply.message() {
        message.questions.clear();
        message.questions.push(query.question.clone());
    }
}

impl Plugin for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        match self.apply(query) {
            Ok(None) => next.run(query),
            Ok(Some(undo)) => {
                let (now, before) = (query.question.to_string(), undo.question.to_string());
                query.note(|| format!("asks for {now} in place of {before}").replace('\t', " "));
                Box::pin(Rewrite::serve_rewritten(query, next, undo))
            }
            Err(failure) => ready(Err(failure)),
        }
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let mut text = None;
        let rtype = fast.plain.rtype();
        let name = fast.plain.name();
        for rule in &self.rules {
            let slot = &mut text;
            if rule.might_apply(rtype, move || slot.get_or_insert_with(|| NameText::of_wire(name)).as_str()) {
                return Step::Slow;
            }
        }
        Step::Pass
    }

    fn describe(&self) -> String {
        format!("{} rules", self.rules.len())
    }
}
