//! The variables that a runtime starts a plugin with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::CniError;
use crate::names::{is_id, is_interface_name};

/// What a runtime wants (CNI_COMMAND).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// Give a container an interface.
    Add,
    /// Take it back; what isn't there is taken back.
    Del,
    /// Is it still as ADD made it?
    Check,
    /// Take back all but those that are named.
    Gc,
    /// Would an ADD go well?
    Status,
    /// Which versions of the specification are spoken?
    Version,
}

impl Command {
    /// As CNI_COMMAND spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }
}

impl FromStr for Command {
    type Err = ();

    fn from_str(text: &str) -> Result<Command, ()> {
        let all = [Command::Add, Command::Del, Command::Check, Command::Gc, Command::Status, Command::Version];
        all.into_iter().find(|command| command.as_str() == text).ok_or(())
    }
}

/// The variables of a call, each checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// CNI_COMMAND.
    pub command: Command,
    /// CNI_CONTAINERID; empty where the command needs none.
    pub container_id: String,
    /// CNI_IFNAME; empty where the command needs none.
    pub ifname: String,
    /// CNI_NETNS, a path; a DEL may come without.
    pub netns: Option<String>,
    /// CNI_ARGS, `KEY=VALUE;KEY=VALUE`; the last of a key counts.
    pub args: BTreeMap<String, String>,
    /// CNI_PATH: folders with plugins.
    pub path: Vec<String>,
    /// TRACEPARENT; what is longer than 256 bytes or not printable is left out.
    pub traceparent: Option<String>,
}

/// How long a TRACEPARENT may be; that of today's version has 55 bytes.
const MAX_TRACEPARENT: usize = 256;

impl Environment {
    /// Reads the variables by `get`. None if there is no CNI_COMMAND: no runtime has called.
    ///
    /// # Errors
    /// Code 4, naming every variable that is missing or wrong.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Option<Environment>, CniError> {
        let mut wrong = Vec::new();
        let mut text = |name: &str| match get(name).map(OsString::into_string) {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err(_)) => {
                wrong.push(format!("{name} is not UTF-8"));
                String::new()
            }
        };
        let command = text("CNI_COMMAND");
        let (container_id, ifname, netns) = (text("CNI_CONTAINERID"), text("CNI_IFNAME"), text("CNI_NETNS"));
        let (args, path) = (text("CNI_ARGS"), text("CNI_PATH"));
        if command.is_empty() && wrong.is_empty() {
            return Ok(None);
        }
        let Ok(command) = command.parse::<Command>() else {
            let message = format!("CNI_COMMAND {:?} is not ADD, DEL, CHECK, GC, STATUS or VERSION", cut(&command));
            return Err(CniError::new(CniError::INVALID_ENVIRONMENT, message));
        };
        let has_container = matches!(command, Command::Add | Command::Del | Command::Check);
        if has_container {
            let mut check = |name: &str, value: &str, is_good: bool, rule: &str| {
                if wrong.iter().any(|told: &String| told.starts_with(name)) {
                } else if value.is_empty() {
                    wrong.push(format!("{name} is missing"));
                } else if !is_good {
                    wrong.push(format!("{name} {:?} {rule}", cut(value)));
                }
            };
            let id_rule = "is not an id: letters, digits, '_', '.' and '-', the first a letter or digit, 200 at most";
            check("CNI_CONTAINERID", &container_id, is_id(&container_id), id_rule);
            let name_rule = "is not an interface's name: 15 bytes at most, no '/', ':' or white space, not '.' or '..'";
            check("CNI_IFNAME", &ifname, is_interface_name(&ifname), name_rule);
            if command != Command::Del {
                check("CNI_NETNS", &netns, true, "");
            }
        }
        let args = match pairs(&args) {
            Ok(pairs) => pairs,
            // What takes away must not fail for what only a set-up reads.
            Err(_) if command != Command::Add => BTreeMap::new(),
            Err(pair) => {
                wrong.push(format!("CNI_ARGS {:?} is not KEY=VALUE", cut(pair)));
                BTreeMap::new()
            }
        };
        if !wrong.is_empty() {
            return Err(CniError::new(CniError::INVALID_ENVIRONMENT, wrong.join("; ")));
        }
        let (container_id, ifname) = if has_container { (container_id, ifname) } else { Default::default() };
        Ok(Some(Environment {
            command,
            container_id,
            ifname,
            netns: Some(netns).filter(|path| has_container && !path.is_empty()),
            args,
            path: path.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect(),
            traceparent: get("TRACEPARENT").and_then(|text| text.into_string().ok()).filter(|text| {
                (1..=MAX_TRACEPARENT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
            }),
        }))
    }
}

/// The pairs of CNI_ARGS, or what is no pair.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, &str> {
    let pairs = text.split(';').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or(pair)).collect()
}

/// As much of a value as a message shows.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
