//! What templates can ask of a question.

use std::collections::BTreeMap;

use regex::Regex;

use super::text::{Subject, Thing, Value};
use crate::plugin::Query;
use crate::wire::{Class, Flags, Name, Question, Type};

/// What a pattern found in a name.
pub(super) struct Match<'a> {
    pattern: &'a str,
    /// The whole, and each group.
    texts: Vec<String>,
    /// The same by number, and by name where a group has one.
    groups: BTreeMap<String, Value>,
}

impl<'a> Match<'a> {
    /// Without a pattern, all of the name is matched.
    pub(super) fn whole(name: &str) -> Match<'a> {
        let groups = BTreeMap::from([("0".to_owned(), Value::Text(name.to_owned()))]);
        Match { pattern: ".*", texts: vec![name.to_owned()], groups }
    }

    /// What a pattern finds; a group that took no part is empty.
    pub(super) fn of(pattern: &'a Regex, name: &str) -> Option<Match<'a>> {
        let found = pattern.captures(name)?;
        let mut texts = Vec::new();
        let mut groups = BTreeMap::new();
        for (n, group) in found.iter().enumerate() {
            let text = group.map_or("", |group| group.as_str());
            texts.push(text.to_owned());
            groups.insert(n.to_string(), Value::Text(text.to_owned()));
        }
        for (name, text) in pattern.capture_names().zip(&texts) {
            if let Some(name) = name {
                groups.insert(name.to_owned(), Value::Text(text.clone()));
            }
        }
        Some(Match { pattern: pattern.as_str(), texts, groups })
    }
}

/// A question as templates see it.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) zone: String,
    regex: String,
    texts: Vec<String>,
    groups: BTreeMap<String, Value>,
    rtype: String,
    class: String,
    remote: String,
    question: Question,
    id: u16,
    flags: Flags,
    metadata: BTreeMap<String, String>,
}

impl Asked {
    /// `of`: type and class of the rule, which stand for ANY in the question.
    pub(super) fn new(query: &Query, name: &str, zone: &Name, of: (Type, Class), found: Match<'_>) -> Asked {
        let rtype = if query.rtype() == Type::ANY { of.0 } else { query.rtype() };
        let class = if query.class() == Class::ANY { of.1 } else { query.class() };
        Asked {
            name: name.to_owned(),
            zone: zone.to_string(),
            regex: found.pattern.to_owned(),
            texts: found.texts,
            groups: found.groups,
            rtype: rtype.to_string(),
            class: class.to_string(),
            remote: query.request.from.ip().to_canonical().to_string(),
            question: query.question.clone(),
            id: query.request.message.id,
            flags: query.flags,
            metadata: query.metadata.clone(),
        }
    }

    /// The type as metrics show it: those without a name are one series.
    pub(super) fn type_label(&self) -> &str {
        if self.rtype.starts_with("TYPE") { "" } else { &self.rtype }
    }

    /// The class as metrics show it.
    pub(super) fn class_label(&self) -> &str {
        if self.class.starts_with("CLASS") { "" } else { &self.class }
    }

    fn of_question(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Name" => Value::Text(self.question.name.to_string()),
            "Qtype" => Value::Number(self.question.rtype.0.into()),
            "Qclass" => Value::Number(self.question.class.0.into()),
            _ => return None,
        })
    }
}

impl Subject for Asked {
    fn field(&self, of: Thing, name: &str) -> Option<Value> {
        let text = |text: &String| Value::Text(text.clone());
        Some(match (of, name) {
            (Thing::Root, "Name") => text(&self.name),
            (Thing::Root, "Zone") => text(&self.zone),
            (Thing::Root, "Class") => text(&self.class),
            (Thing::Root, "Type") => text(&self.rtype),
            (Thing::Root, "Remote") => text(&self.remote),
            (Thing::Root, "Regex") => text(&self.regex),
            (Thing::Root, "Match") => Value::List(self.texts.iter().map(text).collect()),
            (Thing::Root, "Group") => Value::Map(self.groups.clone()),
            (Thing::Root, "Message") => Value::Thing(Thing::Message),
            (Thing::Root, "Question") => Value::Thing(Thing::Question),
            (Thing::Question, name) => return self.of_question(name),
            (Thing::Message, "Id") => Value::Number(self.id.into()),
            (Thing::Message, "Opcode") => Value::Number(self.flags.opcode().0.into()),
            (Thing::Message, "Rcode") => Value::Number(self.flags.rcode().0.into()),
            (Thing::Message, "Question") => Value::List(vec![Value::Thing(Thing::Question)]),
            (Thing::Message, flag) => Value::Bool(match flag {
                "Response" => self.flags.qr(),
                "Authoritative" => self.flags.aa(),
                "Truncated" => self.flags.tc(),
                "RecursionDesired" => self.flags.rd(),
                "RecursionAvailable" => self.flags.ra(),
                "Zero" => self.flags.z(),
                "AuthenticatedData" => self.flags.ad(),
                "CheckingDisabled" => self.flags.cd(),
                _ => return None,
            }),
            (Thing::Root, _) => return None,
        })
    }

    fn meta(&self, label: &str) -> String {
        self.metadata.get(label).cloned().unwrap_or_default()
    }
}
