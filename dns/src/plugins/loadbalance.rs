//! `loadbalance`: answers in another order each time, so that clients that take the first address spread.
//!
//! In each section aliases come first, as some resolvers (glibc's) want them, and addresses and MX last:
//!
//! - `round_robin` shuffles addresses and MX;
//! - `weighted` puts one address first, chosen by the weights of a file;
//! - `nearest` (not CoreDNS's) puts endpoints of headless Services on the client's own node first, then those in its
//!   zone;
//! - `prefer` then sorts addresses in front that are in certain subnets.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Body, Outcome, Serving};
use crate::wire::{Message, Rcode, Record, Type};

mod nearest;
#[cfg(test)]
mod tests;
mod weights;
pub mod wire;

use nearest::Nearest;
use weights::Weights;

enum Policy {
    RoundRobin,
    Weighted(Arc<Weights>),
    Nearest(Arc<Nearest>),
}

struct LoadBalance {
    policy: Policy,
    /// Subnets whose addresses come first, the most wanted first.
    prefer: Vec<IpNet>,
}

/// `loadbalance [round_robin | weighted WEIGHTFILE | nearest] { reload DURATION; prefer CIDR... }`
///
/// # Errors
/// The policy is not there, an option is wrong, or the weight file can't be read and is not looked at again.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    let (mut reload, mut prefer) = (None, Vec::new());
    for option in directive.body() {
        match option.name.as_str() {
            "reload" => {
                option.one_arg()?;
                reload = Some((option, option.duration(0)?));
            }
            "prefer" => {
                for arg in option.args_between(1, usize::MAX)? {
                    let subnet: IpNet =
                        arg.parse().map_err(|_| option.error(format!("{arg:?} is no subnet such as 10.0.0.0/8")))?;
                    prefer.push(subnet.trunc());
                }
            }
            _ => return Err(option.unknown_option(&["reload", "prefer"])),
        }
    }
    let args: Vec<&str> = directive.args.iter().map(String::as_str).collect();
    let policy = match args[..] {
        [] | ["round_robin" | "nearest"] => {
            if let Some((option, _)) = reload {
                return Err(option.error("is for weighted only; remove it"));
            }
            match args[..] {
                ["nearest"] => Policy::Nearest(Nearest::follow(&building.services.feed)),
                _ => Policy::RoundRobin,
            }
        }
        ["weighted", file] => {
            let reload = reload.map_or(weights::RELOAD, |(_, reload)| reload);
            let weights = Arc::new(Weights::read(building.path(file), reload).map_err(|text| directive.error(text))?);
            if !reload.is_zero() {
                building.spawn("loadbalance", weights::keep(weights.clone(), reload));
            }
            Policy::Weighted(weights)
        }
        ["weighted"] => return Err(directive.error("weighted needs the name of its weight file")),
        [policy @ ("round_robin" | "weighted" | "nearest"), ..] => {
            return Err(directive.error(format!("has too many arguments for {policy}")));
        }
        [policy, ..] => {
            let message = format!("{policy} is no policy; there are round_robin, weighted and nearest");
            return Err(directive.error(message));
        }
    };
    Ok(Some(Arc::new(LoadBalance { policy, prefer })))
}

impl LoadBalance {
    fn order(&self, outcome: &mut Outcome, client: IpAddr, next: Next<'_>) {
        let Ok(Some(reply)) = outcome else { return };
        if reply.rcode() != Rcode::NOERROR {
            return;
        }
        if let Body::Wire(bytes) = &mut reply.body
            && self.prefer.is_empty()
            && matches!(self.policy, Policy::RoundRobin)
            && wire::shuffle(bytes, &mut fastrand::Rng::new())
        {
            return;
        }
        // What can't be read is the next plugin's to find.
        let Ok(message) = reply.message() else { return };
        self.order_message(message, client, next);
    }

    fn order_message(&self, message: &mut Message, client: IpAddr, next: Next<'_>) {
        let rtype = message.questions.first().map_or(Type::NONE, |question| question.rtype);
        if matches!(rtype, Type::AXFR | Type::IXFR) {
            return;
        }
        match &self.policy {
            Policy::RoundRobin => {
                round_robin(&mut message.answers);
                round_robin(&mut message.authorities);
                round_robin(&mut message.additionals);
            }
            Policy::Weighted(weights) if matches!(rtype, Type::A | Type::AAAA | Type::SRV) => {
                weights.put_first(&mut message.answers);
                weights.put_first(&mut message.additionals);
            }
            Policy::Weighted(_) => {}
            Policy::Nearest(nearest) => {
                let cluster = next.find("kubernetes").and_then(|kubernetes| kubernetes.cluster());
                let records = cluster.map(|cluster| cluster.load());
                nearest.order(message, client, records.as_deref().map(|records| &**records));
            }
        }
        if !self.prefer.is_empty() {
            prefer(&mut message.answers, &self.prefer);
            prefer(&mut message.additionals, &self.prefer);
        }
    }
}

impl Plugin for LoadBalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            let mut outcome = next.run(query).await;
            self.order(&mut outcome, query.request.from.ip(), next);
            outcome
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if !self.prefer.is_empty() || matches!(self.policy, Policy::Weighted(_)) {
            return Step::Slow;
        }
        fast.shuffle = true;
        fast.nearest = matches!(self.policy, Policy::Nearest(_));
        Step::Pass
    }

    fn describe(&self) -> String {
        let policy = match &self.policy {
            Policy::RoundRobin => "answers in random order".to_owned(),
            Policy::Nearest(_) => "endpoints on the client's node first, then those in its zone".to_owned(),
            Policy::Weighted(weights) => format!("one address first, by the weights of {}", weights.path().display()),
        };
        let prefer: Vec<String> = self.prefer.iter().map(IpNet::to_string).collect();
        if prefer.is_empty() { policy } else { format!("{policy}; preferred: {}", prefer.join(" ")) }
    }
}

/// Where a record's type has it stand in a section.
fn place(rtype: Type) -> u8 {
    match rtype {
        Type::CNAME => 0,
        Type::A | Type::AAAA => 2,
        Type::MX => 3,
        _ => 1,
    }
}

/// The part of a section that is in this place, once it is sorted by places.
fn part(records: &mut [Record], wanted: u8) -> &mut [Record] {
    let start = records.partition_point(|record| place(record.rtype) < wanted);
    let end = records.partition_point(|record| place(record.rtype) <= wanted);
    &mut records[start..end]
}

fn round_robin(records: &mut [Record]) {
    records.sort_by_key(|record| place(record.rtype));
    fastrand::shuffle(part(records, place(Type::A)));
    fastrand::shuffle(part(records, place(Type::MX)));
}

fn prefer(records: &mut [Record], subnets: &[IpNet]) {
    // Here MX stands in front of all others but addresses, and the others last.
    records.sort_by_key(|record| match record.rtype {
        Type::CNAME => (0, 0),
        Type::A | Type::AAAA => {
            let ip = record.data.to_ip(record.rtype);
            let near = ip.and_then(|ip| subnets.iter().position(|subnet| subnet.contains(&ip)));
            (1, near.unwrap_or(subnets.len()))
        }
        Type::MX => (2, 0),
        _ => (3, 0),
    });
}
