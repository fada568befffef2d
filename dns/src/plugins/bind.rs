//! `bind`: the addresses at which a block is served, by themselves or by the interfaces that have them.

use std::net::IpAddr;
use std::sync::Arc;

use bowline_sys::interfaces::{self, Interface};

use crate::corefile::nearest::nearest;
use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

#[cfg(test)]
mod tests;

/// `bind ADDRESS|IFACE ... { except ADDRESS|IFACE ... }`
///
/// # Errors
/// A word is neither an address nor an interface, or nothing is left to listen at.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        let interfaces = interfaces::all()
            .map_err(|error| directive.error(format!("the interfaces of this host can't be listed: {error}")))?;
        for ip in read(directive, &interfaces)? {
            if !building.block.bind.contains(&ip) {
                building.block.bind.push(ip);
            }
        }
    }
    if building.block.bind.is_empty()
        && let Some(directive) = directives.first()
    {
        // Without an address a block would be served at all of them: the opposite of what is meant.
        return Err(directive.error("leaves no address to listen at"));
    }
    Ok(None)
}

fn read(directive: &Directive, interfaces: &[Interface]) -> Result<Vec<IpAddr>, CorefileError> {
    let wanted = list(directive, interfaces)?;
    let mut except = Vec::new();
    for option in directive.body() {
        match option.name.as_str() {
            "except" => except.extend(list(option, interfaces)?),
            _ => return Err(option.unknown_option(&["except"])),
        }
    }
    Ok(wanted.into_iter().filter(|ip| !except.contains(ip)).collect())
}

/// The addresses that the words of a line mean.
fn list(line: &Directive, interfaces: &[Interface]) -> Result<Vec<IpAddr>, CorefileError> {
    let mut all = Vec::new();
    for word in line.args_between(1, usize::MAX)? {
        let mut is_interface = false;
        for interface in interfaces.iter().filter(|interface| interface.name == *word) {
            is_interface = true;
            all.extend(interface.address);
        }
        if is_interface {
            continue;
        }
        // A link-local address may name its interface; the host finds it by the address.
        let bare = word.split_once('%').map_or(word.as_str(), |(address, _)| address);
        all.push(bare.parse().map_err(|_| {
            let names = interfaces.iter().map(|interface| interface.name.as_str());
            let near = nearest(word, names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            line.error(format!("{word} is neither an IP address nor an interface of this host{near}"))
        })?);
    }
    Ok(all)
}
