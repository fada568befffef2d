//! The addresses of an upstream that is named by its host: looked up once, when the Corefile is read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::upstream::{By, Endpoint, single};
use crate::wire::{Message, Name, Question, Rcode, Type};

#[cfg(test)]
mod tests;

/// How long each question to a resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// All addresses of a host, from the first of the resolvers that knows some.
///
/// # Errors
/// Nobody knows one, and why.
pub(super) fn host(name: &str, resolvers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    if resolvers.is_empty() {
        // The host's own resolver may ask this server, which doesn't serve yet.
        return Err(format!("{name} is the name of a host; say by `resolver ADDRESS` who knows its address"));
    }
    // Setting up may be the work of a runtime, which none may be started in.
    let asked = std::thread::scope(|scope| scope.spawn(|| ask_all(name, resolvers)).join());
    asked.unwrap_or_else(|_| Err(format!("{name} can't be looked up")))
}

fn some(name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    if found.is_empty() { Err(format!("{name} has no address")) } else { Ok(found) }
}

fn ask_all(name: &str, resolvers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("{name} can't be looked up: {error}"))?;
    let parsed = Name::parse(name).map_err(|error| format!("{name}: {error}"))?;
    let mut reasons = Vec::new();
    for resolver in resolvers {
        match runtime.block_on(ask(&parsed, *resolver)).and_then(|found| some(name, found)) {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("{resolver}: {reason}")),
        }
    }
    Err(format!("{name} can't be looked up: {}", reasons.join("; ")))
}

/// The addresses of both families. Those of one do, if the other can't be had.
async fn ask(name: &Name, resolver: SocketAddr) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    let mut trouble = None;
    for rtype in [Type::A, Type::AAAA] {
        match ask_one(name, rtype, resolver).await {
            Ok(addresses) => found.extend(addresses),
            Err(reason) => trouble = Some(reason),
        }
    }
    match trouble {
        Some(reason) if found.is_empty() => Err(reason),
        _ => Ok(found),
    }
}

async fn ask_one(name: &Name, rtype: Type, resolver: SocketAddr) -> Result<Vec<IpAddr>, String> {
    let mut message = Message::default();
    message.flags.set_rd(true);
    message.questions.push(Question::new(name.clone(), rtype));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let endpoint = Endpoint { address: resolver, tls: None };
    let mut answer = single::ask(&endpoint, None, &bytes, By::Udp, PATIENCE).await;
    if answer.as_ref().is_ok_and(|answer| answer.get(2).is_some_and(|flags| flags & 0x02 != 0)) {
        answer = single::ask(&endpoint, None, &bytes, By::Tcp, PATIENCE).await;
    }
    let answer = answer.map_err(|error| error.to_string())?;
    let answer = Message::read(&answer).map_err(|error| error.to_string())?;
    match answer.rcode() {
        // Aliases in front lead to these.
        Rcode::NOERROR => Ok(answer.answers.iter().filter_map(|record| record.data.to_ip(record.rtype)).collect()),
        rcode => Err(format!("it answers {rcode}")),
    }
}
