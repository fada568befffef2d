//! `rewrite edns0`: options of questions are set, added, replaced or taken away.

use crate::corefile::SetupError;
use std::net::IpAddr;

use super::response::Response;
use crate::plugin::Query;
use crate::wire::Edns;
use crate::wire::edns::option::{NSID, SUBNET};

/// EDNS's size where a question has none, and a rule needs it.
const SIZE: u16 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Whether it is there or not.
    Set,
    /// If it is not there.
    Append,
    /// If it is there.
    Replace,
    Unset,
}

#[derive(Debug)]
enum Value {
    Bytes(Vec<u8>),
    Variable(Variable),
    /// The client's network, of so many bits (RFC 7871).
    Subnet {
        v4: u8,
        v6: u8,
    },
}

#[derive(Debug)]
enum Variable {
    QueryName,
    QueryType,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
    /// What plugins know of the question.
    Metadata(String),
}

/// A rule for an option.
#[derive(Debug)]
pub(super) struct EdnsRule {
    code: u16,
    action: Action,
    value: Value,
    /// The answer does not show it.
    reverts: bool,
}

impl EdnsRule {
    /// Reads `local|nsid|subnet set|append|replace|unset [CODE] [VALUE…] [revert]`.
    pub(super) fn read(words: &[String]) -> Result<EdnsRule, SetupError> {
        let [what, action, rest @ ..] = words else {
            return Err("a rule for edns0 needs local, nsid or subnet, and what to do with it".into());
        };
        let action = match action.to_ascii_lowercase().as_str() {
            "set" => Action::Set,
            "append" => Action::Append,
            "replace" => Action::Replace,
            "unset" => Action::Unset,
            _ => return Err(format!("{action:?} is none of set, append, replace, unset").into()),
        };
        let (rest, reverts) = match rest {
            [front @ .., last] if last == "revert" && action != Action::Unset => (front, true),
            _ => (rest, false),
        };
        let (code, value) = match (what.to_ascii_lowercase().as_str(), rest, action) {
            ("local", [code], Action::Unset) => (number(code)?, Value::Bytes(Vec::new())),
            ("local", [code, value], Action::Set | Action::Append | Action::Replace) => (number(code)?, local(value)?),
            ("local", _, Action::Unset) => return Err("edns0 local unset takes the option's code".into()),
            ("local", ..) => return Err("edns0 local takes the option's code and its value".into()),
            ("nsid", [], _) => (NSID, Value::Bytes(Vec::new())),
            ("nsid", ..) => return Err("edns0 nsid takes nothing more".into()),
            ("subnet", [], Action::Unset) => (SUBNET, Value::Bytes(Vec::new())),
            ("subnet", [v4, v6], Action::Set | Action::Append | Action::Replace) => {
                (SUBNET, Value::Subnet { v4: bits(v4, 32)?, v6: bits(v6, 128)? })
            }
            ("subnet", _, Action::Unset) => return Err("edns0 subnet unset takes nothing more".into()),
            ("subnet", ..) => return Err("edns0 subnet takes the bits of an IPv4 and of an IPv6 network".into()),
            (other, ..) => return Err(format!("edns0 {other} is unknown; known are local, nsid and subnet").into()),
        };
        Ok(EdnsRule { code, action, value, reverts })
    }

    /// The code of an option of somebody's own, which answers show again.
    pub(super) fn local_option(&self) -> Option<u16> {
        (self.code != NSID && self.code != SUBNET).then_some(self.code)
    }

    /// Applies it; false if it has nothing to do.
    pub(super) fn apply(&self, query: &mut Query, responses: &mut Vec<Response>) -> bool {
        if self.action == Action::Unset {
            if let Some(edns) = &mut query.edns {
                edns.options.retain(|(code, _)| *code != self.code);
            }
            return true;
        }
        let Some(value) = self.value.of(query) else { return false };
        let known = query.edns.as_mut().and_then(|edns| edns.options.iter_mut().find(|(code, _)| *code == self.code));
        match (known, self.action) {
            (Some((_, old)), Action::Set | Action::Replace) => {
                let old = std::mem::replace(old, value);
                responses.extend(self.reverts.then_some(Response::Restore(self.code, old)));
                true
            }
            (None, Action::Set | Action::Append) => {
                let edns = query.edns.get_or_insert_with(|| Edns::new(SIZE, false));
                edns.options.push((self.code, value));
                responses.extend(self.reverts.then_some(Response::Remove(self.code)));
                true
            }
            _ => false,
        }
    }
}

/// A number of 16 bits as Go's sources write it.
fn number(text: &str) -> Result<u16, SetupError> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    let is_unsigned = !digits.starts_with(['+', '-']);
    let read = u16::from_str_radix(&digits.replace('_', ""), radix).ok().filter(|_| is_unsigned);
    Ok(read.ok_or_else(|| format!("{text:?} is no number from 0 to 65535, or 0x0 to 0xffff"))?)
}

fn bits(text: &str, most: u16) -> Result<u8, SetupError> {
    let wrong = || format!("{text:?} is no number of bits from 0 to {most}");
    let bits = number(text).ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
    Ok(u8::try_from(bits).map_err(|_| wrong())?)
}

/// The value of a local option: a variable, bytes in hexadecimal, or text.
fn local(text: &str) -> Result<Value, SetupError> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let variable = match name {
            "qname" => Variable::QueryName,
            "qtype" => Variable::QueryType,
            "client_ip" => Variable::ClientIp,
            "client_port" => Variable::ClientPort,
            "protocol" => Variable::Protocol,
            "server_ip" => Variable::ServerIp,
            "server_port" => Variable::ServerPort,
            // A plugin's name and what it knows.
            label if label.split_once('/').is_some_and(|(plugin, name)| !plugin.is_empty() && !name.is_empty()) => {
                Variable::Metadata(label.to_owned())
            }
            _ => {
                let known = "qname, qtype, client_ip, client_port, protocol, server_ip, server_port, PLUGIN/LABEL";
                return Err(format!("there is no variable {text}; known are {known}").into());
            }
        };
        return Ok(Value::Variable(variable));
    }
    let Some(digits) = text.strip_prefix("0x") else { return Ok(Value::Bytes(text.as_bytes().to_vec())) };
    let nibbles: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let nibbles = nibbles.filter(|nibbles| nibbles.len() % 2 == 0);
    let nibbles = nibbles.ok_or_else(|| format!("{text:?} is no even number of hexadecimal digits"))?;
    Ok(Value::Bytes(nibbles.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()))
}

impl Value {
    /// Its bytes for a question; None if there is nothing to say.
    fn of(&self, query: &Query) -> Option<Vec<u8>> {
        let request = &query.request;
        let address = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Some(match self {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Subnet { v4, v6 } => subnet(request.from.ip().to_canonical(), *v4, *v6),
            Value::Variable(Variable::QueryName) => query.name().to_string().into_bytes(),
            Value::Variable(Variable::QueryType) => query.rtype().0.to_be_bytes().to_vec(),
            Value::Variable(Variable::ClientIp) => address(request.from.ip()),
            Value::Variable(Variable::ClientPort) => request.from.port().to_be_bytes().to_vec(),
            Value::Variable(Variable::ServerIp) => address(request.to.ip()),
            Value::Variable(Variable::ServerPort) => request.to.port().to_be_bytes().to_vec(),
            Value::Variable(Variable::Protocol) => request.transport.proto().as_bytes().to_vec(),
            Value::Variable(Variable::Metadata(label)) => {
                query.metadata.get(label).filter(|value| !value.is_empty())?.clone().into_bytes()
            }
        })
    }
}

/// Family, bits asked for, bits answered for, and as many bytes of the address as the bits need (RFC 7871 §6).
fn subnet(address: IpAddr, v4: u8, v6: u8) -> Vec<u8> {
    let (family, bits, mut bytes) = match address {
        IpAddr::V4(address) => (1, v4, address.octets().to_vec()),
        IpAddr::V6(address) => (2, v6, address.octets().to_vec()),
    };
    bytes.truncate(usize::from(bits).div_ceil(8));
    if let (Some(last), part @ 1..) = (bytes.last_mut(), bits % 8) {
        *last &= 0xff << (8 - part);
    }
    [&[0, family, bits, 0][..], &bytes].concat()
}
