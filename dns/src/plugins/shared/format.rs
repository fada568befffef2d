//! Texts with placeholders for what is known of a question and its answer: the lines of `log`, `extra` of `dnstap`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::plugin::Query;
use crate::reply::classify::Kind;
use crate::reply::{Body, Outcome};
use crate::wire::{Class, Message, Name, Type};

#[cfg(test)]
mod tests;

/// What stands for a value that there is not.
const NONE: &str = "-";

/// A placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Type,
    Name,
    Class,
    Proto,
    Size,
    Remote,
    Port,
    Local,
    Id,
    Opcode,
    Do,
    Bufsize,
    Rcode,
    ReplySize,
    Duration,
    ReplyFlags,
}

const LABELS: [(&str, Label); 16] = [
    ("{type}", Label::Type),
    ("{name}", Label::Name),
    ("{class}", Label::Class),
    ("{proto}", Label::Proto),
    ("{size}", Label::Size),
    ("{remote}", Label::Remote),
    ("{port}", Label::Port),
    ("{local}", Label::Local),
    ("{>id}", Label::Id),
    ("{>opcode}", Label::Opcode),
    ("{>do}", Label::Do),
    ("{>bufsize}", Label::Bufsize),
    ("{rcode}", Label::Rcode),
    ("{rsize}", Label::ReplySize),
    ("{duration}", Label::Duration),
    ("{>rflags}", Label::ReplyFlags),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Label(Label),
    /// `{/LABEL}`, without what is around it.
    Metadata(String),
}

/// A text with placeholders, taken apart. What is in braces and no placeholder stands as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

impl Format {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Format {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        // From the closing brace back to the opening one: `{ {type} }` holds a placeholder.
        while let Some(end) = rest.find('}') {
            let (front, after) = rest.split_at(end + 1);
            rest = after;
            let Some(start) = front.rfind('{') else {
                plain.push_str(front);
                continue;
            };
            let (before, word) = front.split_at(start);
            let label = LABELS.iter().find(|(text, _)| *text == word).map(|(_, label)| Part::Label(*label));
            let metadata = || Some(Part::Metadata(word.strip_prefix("{/")?.strip_suffix('}')?.to_owned()));
            match label.or_else(metadata) {
                Some(part) => {
                    plain.push_str(before);
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                }
                None => plain.push_str(front),
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Format(parts)
    }

    /// The text, with the values of a question, and of its answer if there is one yet.
    pub fn fill(&self, query: &Query, asked: &Asked, said: Option<&Said>) -> String {
        let mut line = String::with_capacity(128);
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Label(label) => put(&mut line, *label, query, asked, said),
                Part::Metadata(label) => match (said, &**label) {
                    // What `log` knows beyond the plugins, where metadata is on.
                    (Some(said), "log/class") if query.block.config.metadata.is_some() => {
                        let _ = write!(line, "{}", said.kind.class());
                    }
                    (Some(said), "log/type") if query.block.config.metadata.is_some() => {
                        let _ = write!(line, "{}", said.kind);
                    }
                    _ => line.push_str(query.metadata.get(label).map_or(NONE, String::as_str)),
                },
            }
        }
        line
    }
}

/// The question before plugins changed it.
pub struct Asked {
    name: Name,
    rtype: Type,
    class: Class,
    size: usize,
}

impl Asked {
    /// The question as it is now.
    pub fn of(query: &Query) -> Asked {
        let question = &query.question;
        let size = if query.depth == 0 { query.request.raw.len() } else { query.to_message().length() };
        Asked { name: question.name.to_lower(), rtype: question.rtype, class: question.class, size }
    }

    /// The name in lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

/// What there is to say of an answer.
pub struct Said {
    /// The message; none where nothing was sent.
    pub message: Option<Message>,
    /// Its kind.
    pub kind: Kind,
    /// How long it took.
    pub took: Duration,
}

impl Said {
    /// What comes of a query.
    pub fn of(query: &Query, outcome: &Outcome, took: Duration) -> Said {
        let message = match outcome {
            Ok(None) => None,
            Ok(Some(reply)) => match &reply.body {
                Body::Message(message) => Some((**message).clone()),
                Body::Wire(bytes) => Message::read(bytes).ok(),
            },
            Err(failure) => {
                let mut message = query.reply();
                message.set_rcode(failure.rcode);
                Some(message)
            }
        };
        Said { kind: Kind::of(message.as_ref()), message, took }
    }
}

fn put(line: &mut String, label: Label, query: &Query, asked: &Asked, said: Option<&Said>) {
    let request = &query.request;
    let message = said.and_then(|said| said.message.as_ref());
    // Writing to a String does not fail.
    let _ = match label {
        Label::Type => write!(line, "{}", asked.rtype),
        Label::Name => write!(line, "{}", asked.name),
        Label::Class => write!(line, "{}", asked.class),
        Label::Proto => line.write_str(request.transport.proto()),
        Label::Size => write!(line, "{}", asked.size),
        Label::Remote => put_address(line, request.from.ip()),
        Label::Port => write!(line, "{}", request.from.port()),
        Label::Local => put_address(line, request.to.ip()),
        Label::Id => write!(line, "{}", request.message.id),
        Label::Opcode => write!(line, "{}", query.flags.opcode().0),
        Label::Do => write!(line, "{}", query.dnssec_ok()),
        Label::Bufsize => write!(line, "{}", query.size()),
        Label::Rcode => match message.map(Message::rcode) {
            // Numbers without a name stand alone.
            Some(rcode) if rcode.to_string().starts_with("RCODE") => write!(line, "{}", rcode.0),
            Some(rcode) => write!(line, "{rcode}"),
            None => line.write_str(NONE),
        },
        Label::ReplySize => match said {
            Some(_) => write!(line, "{}", message.map_or(0, Message::length)),
            None => line.write_str(NONE),
        },
        Label::Duration => match said {
            Some(said) => write!(line, "{}s", said.took.as_secs_f64()),
            None => line.write_str(NONE),
        },
        Label::ReplyFlags => match message {
            Some(message) => put_flags(line, message),
            None => line.write_str(NONE),
        },
    };
}

/// IPv6 addresses stand in brackets.
fn put_address(line: &mut String, ip: IpAddr) -> std::fmt::Result {
    match ip {
        IpAddr::V4(ip) => write!(line, "{ip}"),
        IpAddr::V6(ip) => write!(line, "[{ip}]"),
    }
}

fn put_flags(line: &mut String, message: &Message) -> std::fmt::Result {
    let flags = message.flags;
    let z = flags.0 & 0x0040 != 0;
    let all = [
        ("qr", flags.qr()),
        ("aa", flags.aa()),
        ("tc", flags.tc()),
        ("rd", flags.rd()),
        ("ra", flags.ra()),
        ("z", z),
        ("ad", flags.ad()),
        ("cd", flags.cd()),
    ];
    let set: Vec<&str> = all.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    line.write_str(&set.join(","))
}
