//! `acl`: who may ask what. The first policy that a question matches decides; where none does, it goes on.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::Zones;
use crate::plugin::{Building, Next, Plugin, Query, Services};
use crate::plugins::shared::by_server::ByServer;
use crate::reply::{Reply, Serving, ready};
use crate::wire::edns::option::EDE;
use crate::wire::{Edns, Name, Rcode, Type};

#[cfg(test)]
mod tests;

/// Info codes of extended errors (RFC 8914 §4.16, §4.18).
const BLOCKED: u16 = 15;
const FILTERED: u16 = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    /// REFUSED.
    Block,
    /// An empty answer.
    Filter,
    /// No answer at all.
    Drop,
}

/// What is done with which questions. An empty list means: all.
struct Policy {
    action: Action,
    types: Vec<Type>,
    nets: Vec<IpNet>,
}

struct Rule {
    zones: Zones,
    policies: Vec<Policy>,
}

struct Acl {
    rules: Vec<Rule>,
    allowed: ByServer,
    services: Arc<Services>,
}

/// `acl [ZONES...] { allow|block|filter|drop [type QTYPE...] [net SOURCE...] }`
///
/// # Errors
/// A policy is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut rules = Vec::new();
    for directive in directives {
        let zones = Zones::read(directive, &directive.args, building)?;
        let policies = directive.body().iter().map(policy).collect::<Result<_, _>>()?;
        rules.push(Rule { zones, policies });
    }
    let allowed = ByServer::new("coredns_acl_allowed_requests_total", "Counter of DNS requests being allowed.");
    Ok(Some(Arc::new(Acl { rules, allowed, services: building.services.clone() })))
}

fn policy(line: &Directive) -> Result<Policy, CorefileError> {
    line.no_body()?;
    let action = match line.name.to_ascii_lowercase().as_str() {
        "allow" => Action::Allow,
        "block" => Action::Block,
        "filter" => Action::Filter,
        "drop" => Action::Drop,
        _ => return Err(line.unknown_option(&["allow", "block", "filter", "drop"])),
    };
    let mut policy = Policy { action, types: Vec::new(), nets: Vec::new() };
    let (mut every_type, mut every_net) = (false, false);
    let mut args = line.args.iter().peekable();
    let begins = |arg: &str| arg.eq_ignore_ascii_case("type") || arg.eq_ignore_ascii_case("net");
    while let Some(section) = args.next() {
        if !begins(section) {
            return Err(line.error(format!("{section:?} is neither type nor net")));
        }
        let is_type = section.eq_ignore_ascii_case("type");
        let mut count = 0;
        while let Some(arg) = args.next_if(|arg| !begins(arg)) {
            count += 1;
            match (is_type, arg.as_str()) {
                (true, "*") => every_type = true,
                (false, "*") => every_net = true,
                (true, arg) => policy.types.push(rtype(line, arg)?),
                (false, arg) => policy.nets.push(net(line, arg)?),
            }
        }
        if count == 0 {
            return Err(line.error(format!("{section} names nothing; write * for all")));
        }
    }
    if every_type {
        policy.types.clear();
    }
    if every_net {
        policy.nets.clear();
    }
    Ok(policy)
}

fn rtype(line: &Directive, arg: &str) -> Result<Type, CorefileError> {
    // Unknown ones by their number would be a new thing; a word that is no type is mistyped.
    arg.parse().map_err(|_| line.error(format!("{arg:?} is no type of records, such as A or TXT")))
}

fn net(line: &Directive, arg: &str) -> Result<IpNet, CorefileError> {
    let net = arg.parse().or_else(|_| arg.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| line.error(format!("{arg:?} is no address or network, such as 10.0.0.0/8")))
}

impl Policy {
    fn matches(&self, rtype: Type, from: IpAddr) -> bool {
        let is_of_type = self.types.is_empty() || self.types.contains(&rtype);
        is_of_type && (self.nets.is_empty() || self.nets.iter().any(|net| net.contains(&from)))
    }
}

impl Rule {
    fn action(&self, rtype: Type, from: IpAddr) -> Option<Action> {
        self.policies.iter().find(|policy| policy.matches(rtype, from)).map(|policy| policy.action)
    }
}

impl Acl {
    /// What is to be done, other than to go on, and the zone that says so.
    fn decide(&self, query: &Query) -> Option<(Action, &Name)> {
        let from = query.request.from.ip().to_canonical();
        for rule in &self.rules {
            let Some(zone) = rule.zones.of(query.name()) else { continue };
            match rule.action(query.rtype(), from) {
                Some(Action::Allow) => return None,
                Some(action) => return Some((action, zone)),
                None => {}
            }
        }
        None
    }

    fn count(&self, name: &'static str, help: &'static str, query: &Query, zone: &Name) {
        let (server, zone) = (query.server.address().to_string(), zone.to_string());
        self.services
            .metrics
            .counter(name, help, &[("server", &server), ("zone", &zone), ("view", query.view())])
            .inc();
    }
}

fn answer(query: &Query, rcode: Rcode, info: u16) -> Reply {
    let mut message = query.reply();
    let mut edns = Edns::new(4096, true);
    edns.options.push((EDE, info.to_be_bytes().to_vec()));
    message.edns = Some(edns);
    message.set_rcode(rcode);
    Reply::new(message, "acl")
}

impl Plugin for Acl {
    fn name(&self) -> &'static str {
        "acl"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some((action, zone)) = self.decide(query) else {
            self.allowed.of(&self.services.metrics, query.server.address(), query.view()).inc();
            return next.run(query);
        };
        let from = query.request.from.ip();
        query.note(|| format!("{action:?}: {from} in {zone}"));
        let outcome = match action {
            Action::Block => {
                let help = "Counter of DNS requests being blocked.";
                self.count("coredns_acl_blocked_requests_total", help, query, zone);
                Some(answer(query, Rcode::REFUSED, BLOCKED))
            }
            Action::Filter => {
                let help = "Counter of DNS requests being filtered.";
                self.count("coredns_acl_filtered_requests_total", help, query, zone);
                Some(answer(query, Rcode::NOERROR, FILTERED))
            }
            Action::Drop | Action::Allow => {
                let help = "Counter of DNS requests being dropped.";
                self.count("coredns_acl_dropped_requests_total", help, query, zone);
                None
            }
        };
        ready(Ok(outcome))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let (rtype, from) = (fast.plain.rtype(), fast.from.ip().to_canonical());
        for rule in &self.rules {
            match rule.action(rtype, from) {
                // A zone is looked for only where it matters.
                Some(Action::Allow) if rule.zones.take(fast) => break,
                Some(_) if rule.zones.take(fast) => return Step::Slow,
                _ => {}
            }
        }
        // The first question takes the long way, which makes the counter.
        match fast.server.and_then(|server| self.allowed.get(server)) {
            Some(counter) => fast.count(counter),
            None => Step::Slow,
        }
    }

    fn describe(&self) -> String {
        let policies: usize = self.rules.iter().map(|rule| rule.policies.len()).sum();
        format!("{policies} policies")
    }
}
