//! `template`: answers made of the question, by rules and templates in the Corefile.

use std::sync::Arc;

use regex::Regex;

use self::subject::{Asked, Match};
use self::text::Template;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query, Services};
use crate::plugins::shared::pattern;
use crate::reply::{Outcome, QueryError, Reply, Serving, ready};
use crate::wire::edns::option::EDE;
use crate::wire::name_text::NameText;
use crate::wire::text::record_from_text;
use crate::wire::{Class, Edns, Message, Name, Rcode, Record, Type};

mod subject;
#[cfg(test)]
mod tests;
pub mod text;

/// One directive.
struct Rule {
    zones: Zones,
    class: Class,
    rtype: Type,
    /// The first that matches counts; none: all names match.
    patterns: Vec<Regex>,
    answers: Vec<Template>,
    additionals: Vec<Template>,
    authorities: Vec<Template>,
    rcode: Rcode,
    /// Code and text of an extended error (RFC 8914).
    error: Option<(u16, String)>,
    fallthrough: Fallthrough,
}

struct Templates {
    rules: Vec<Rule>,
    services: Arc<Services>,
}

/// `template CLASS TYPE [ZONES...] { [match REGEX...] [answer RR] [additional RR] [authority RR] [rcode CODE]
/// [ederror CODE [REASON]] [fallthrough [ZONES...]] [upstream] }`
///
/// # Errors
/// An option, a pattern or a template is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let rules = directives.iter().map(|directive| rule(directive, building)).collect::<Result<_, _>>()?;
    Ok(Some(Arc::new(Templates { rules, services: building.services.clone() })))
}

const OPTIONS: [&str; 8] =
    ["match", "answer", "additional", "authority", "rcode", "ederror", "fallthrough", "upstream"];

fn rule(directive: &Directive, building: &Building<'_>) -> Result<Rule, CorefileError> {
    let args = directive.args_between(2, usize::MAX)?;
    let mut rule = Rule {
        zones: Zones::read(directive, &args[2..], building)?,
        class: directive.parse(0, "a class, such as IN or ANY")?,
        rtype: directive.parse(1, "a type of records, such as A or ANY")?,
        patterns: Vec::new(),
        answers: Vec::new(),
        additionals: Vec::new(),
        authorities: Vec::new(),
        rcode: Rcode::NOERROR,
        error: None,
        fallthrough: Fallthrough::default(),
    };
    for option in directive.body() {
        option.no_body()?;
        match option.name.as_str() {
            "match" => {
                for text in option.args_between(1, usize::MAX)? {
                    rule.patterns.push(pattern::compile(text).map_err(|why| option.error(why))?);
                }
            }
            "answer" => rule.answers.extend(templates(option)?),
            "additional" => rule.additionals.extend(templates(option)?),
            "authority" => rule.authorities.extend(templates(option)?),
            "rcode" => {
                option.one_arg()?;
                rule.rcode = option.parse(0, "a response code, such as NXDOMAIN")?;
            }
            "ederror" => {
                let args = option.args_between(1, 2)?;
                let reason = args.get(1).cloned().unwrap_or_default();
                rule.error = Some((option.parse(0, "the number of an extended error, from 0 to 65535")?, reason));
            }
            "fallthrough" => rule.fallthrough = Fallthrough::read(option)?,
            // It has no meaning any more, and stands in old Corefiles.
            "upstream" => {}
            _ => return Err(option.unknown_option(&OPTIONS)),
        }
    }
    Ok(rule)
}

fn templates(option: &Directive) -> Result<Vec<Template>, CorefileError> {
    let args = option.args_between(1, usize::MAX)?;
    let compile =
        |text: &String| Template::parse(text).map_err(|wrong| option.error(format!("the template {text:?}, {wrong}")));
    args.iter().map(compile).collect()
}

impl Rule {
    /// Whether it is for such questions; names are yet to be matched.
    fn is_for(&self, rtype: Type, class: Class) -> bool {
        (self.class == Class::ANY || class == Class::ANY || class == self.class)
            && (self.rtype == Type::ANY || rtype == Type::ANY || rtype == self.rtype)
    }

    fn matches<'a>(&'a self, name: &str) -> Option<Match<'a>> {
        if self.patterns.is_empty() {
            return Some(Match::whole(name));
        }
        self.patterns.iter().find_map(|pattern| Match::of(pattern, name))
    }
}

impl Templates {
    /// The rule that answers, and what it matched. None: the question goes on.
    fn find(&self, query: &Query) -> Option<Result<(&Rule, Asked), QueryError>> {
        let mut name = None;
        for rule in &self.rules {
            let Some(zone) = rule.zones.of(query.name()) else { continue };
            if !rule.is_for(query.rtype(), query.class()) {
                continue;
            }
            let name = name.get_or_insert_with(|| NameText::of(query.name())).as_str();
            match rule.matches(name) {
                Some(found) => return Some(Ok((rule, Asked::new(query, name, zone, (rule.rtype, rule.class), found)))),
                None if rule.fallthrough.lets(query.name()) => {}
                None => {
                    return Some(Err(QueryError::bare("template", Rcode::SERVFAIL)));
                }
            }
        }
        None
    }

    fn count(&self, name: &'static str, help: &'static str, query: &Query, asked: &Asked, more: &[(&str, &str)]) {
        let server = query.server.address().to_string();
        let zone = asked.zone.as_str();
        let mut labels =
            vec![("server", &*server), ("zone", zone), ("view", query.view()), ("class", asked.class_label())];
        labels.push(("type", asked.type_label()));
        labels.extend(more);
        self.services.metrics.counter(name, help, &labels).inc();
    }

    /// The record that a template makes.
    fn record(
        &self,
        template: &Template,
        section: &'static str,
        query: &Query,
        asked: &Asked,
    ) -> Result<Record, QueryError> {
        let labels = [("section", section), ("template", template.shown.as_str())];
        let failed = |why: String| {
            QueryError::servfail("template", format!("the template {:?} for {}: {why}", template.shown, asked.name))
        };
        let text = template.run(asked).map_err(|why| {
            let help = "Counter of go template failures.";
            self.count("coredns_template_template_failures_total", help, query, asked, &labels);
            failed(why.to_string())
        })?;
        record_from_text(&text, None).map_err(|why| {
            self.count("coredns_template_rr_failures_total", "Counter of mis-templated RRs.", query, asked, &labels);
            failed(format!("{text:?} is no record: {why}"))
        })
    }

    async fn answer(&self, query: &mut Query, rule: &Rule, asked: Asked) -> Outcome {
        let help = "Counter of template regex matches.";
        self.count("coredns_template_matches_total", help, query, &asked, &[]);
        query.note(|| format!("the template for {} {} {} answers", asked.zone, rule.class, rule.rtype));
        if rule.rcode == Rcode::SERVFAIL {
            return Err(QueryError::bare("template", Rcode::SERVFAIL));
        }
        let mut message = query.reply();
        message.flags.set_aa(true);
        let mut is_watched = false;
        for template in &rule.answers {
            let record = self.record(template, "answer", query, &asked)?;
            let target = record.data.to_name().filter(|_| record.rtype == Type::CNAME);
            message.answers.push(record);
            if let Some(target) = target
                && matches!(query.rtype(), Type::A | Type::AAAA)
            {
                is_watched |= follow(query, target, &mut message).await;
            }
        }
        for template in &rule.additionals {
            message.additionals.push(self.record(template, "additional", query, &asked)?);
        }
        for template in &rule.authorities {
            message.authorities.push(self.record(template, "authority", query, &asked)?);
        }
        if let Some((code, reason)) = &rule.error {
            let mut edns = Edns::new(4096, true);
            edns.options.push((EDE, [&code.to_be_bytes()[..], reason.as_bytes()].concat()));
            message.edns = Some(edns);
        }
        message.set_rcode(rule.rcode);
        let reply = Reply::new(message, "template");
        Ok(Some(if is_watched { reply.watched() } else { reply }))
    }
}

/// Adds what an alias leads to, if that is known here. Whether it came from watched state.
async fn follow(query: &mut Query, target: Name, message: &mut Message) -> bool {
    let rtype = query.rtype();
    let Ok(Some(mut reply)) = query.ask(target, rtype).await else { return false };
    let is_watched = reply.is_watched;
    if let Ok(found) = reply.message() {
        message.flags.set_tc(found.flags.tc());
        message.answers.append(&mut found.answers);
    }
    is_watched
}

impl Plugin for Templates {
    fn name(&self) -> &'static str {
        "template"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        match self.find(query) {
            None => next.run(query),
            Some(Ok((rule, asked))) => Box::pin(self.answer(query, rule, asked)),
            Some(Err(failure)) => {
                query.note(|| "no pattern matches, and the name does not fall through".to_owned());
                ready(Err(failure))
            }
        }
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let mut name = None;
        for rule in &self.rules {
            if !rule.is_for(fast.plain.rtype(), Class::IN) || !rule.zones.take(fast) {
                continue;
            }
            let name = name.get_or_insert_with(|| NameText::of_wire(fast.plain.name())).as_str();
            let matches = rule.patterns.is_empty() || rule.patterns.iter().any(|pattern| pattern.is_match(name));
            if matches || !rule.fallthrough.takes(fast) {
                return Step::Slow;
            }
        }
        Step::Pass
    }

    fn describe(&self) -> String {
        let of = |rule: &Rule| format!("{} {}", rule.class, rule.rtype);
        self.rules.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}
