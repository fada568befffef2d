//! The plugins: which there are, in the fixed order in which a question meets them (CoreDNS's plugin.cfg), and what is
//! known and not here. What a plugin is stands in [`crate::plugin`]; docs/plugins.md shows how to write one.

use crate::corefile::nearest::nearest;
use crate::corefile::{CorefileError, Directive};
use crate::plugin::SetUp;

pub mod acl;
pub mod any;
#[cfg(test)]
pub(crate) mod asker;
pub mod auto;
pub mod autopath;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod debug;
pub mod dns64;
pub mod dnssec;
pub mod dnstap;
pub mod errors;
pub mod etcd;
pub mod file;
pub mod forward;
pub mod header;
pub mod health;
pub mod hosts;
pub mod k8s_external;
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod looping;
pub mod metadata;
pub mod minimal;
pub mod multisocket;
pub mod nsid;
pub mod prometheus;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
pub mod secondary;
pub mod shared;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod timeouts;
pub mod tls;
pub mod transfer;
pub mod view;
pub mod whoami;

/// The plugins that are here, in their order, each with its set-up.
pub const PLUGINS: &[(&str, SetUp)] = &[
    ("root", root::set_up),
    ("metadata", metadata::set_up),
    ("cancel", cancel::set_up),
    ("timeouts", timeouts::set_up),
    ("multisocket", multisocket::set_up),
    ("reload", reload::set_up),
    ("nsid", nsid::set_up),
    ("bufsize", bufsize::set_up),
    ("bind", bind::set_up),
    ("debug", debug::set_up),
    ("ready", ready::set_up),
    ("health", health::set_up),
    ("prometheus", prometheus::set_up),
    ("errors", errors::set_up),
    ("log", log::set_up),
    ("dnstap", dnstap::set_up),
    ("local", local::set_up),
    ("dns64", dns64::set_up),
    ("any", any::set_up),
    ("chaos", chaos::set_up),
    ("loadbalance", loadbalance::set_up),
    ("rewrite", rewrite::set_up),
    ("autopath", autopath::set_up),
    ("acl", acl::set_up),
    ("cache", cache::set_up),
    ("header", header::set_up),
    ("dnssec", dnssec::set_up),
    ("tls", tls::set_up),
    ("minimal", minimal::set_up),
    ("template", template::set_up),
    ("transfer", transfer::set_up),
    ("hosts", hosts::set_up),
    ("k8s_external", k8s_external::set_up),
    ("kubernetes", kubernetes::set_up),
    ("file", file::set_up),
    ("auto", auto::set_up),
    ("secondary", secondary::set_up),
    ("etcd", etcd::set_up),
    ("loop", looping::set_up),
    ("forward", forward::set_up),
    ("whoami", whoami::set_up),
    ("view", view::set_up),
];

/// CoreDNS's other plugins: each with what to do instead.
const KNOWN: &[(&str, &str)] = &[
    ("azure", "use secondary, or forward to the cloud's resolver"),
    ("clouddns", "use secondary, or forward to the cloud's resolver"),
    ("erratic", "it is for tests of clients"),
    ("geoip", "use view with addresses"),
    ("grpc", "use forward, with tls:// where it must be encrypted"),
    ("grpc_server", "it is for grpc://, which is not served"),
    ("https", "HTTPS is served as it is; limits are fixed"),
    ("https3", "HTTP/3 is not served; HTTPS and QUIC are"),
    ("nomad", "it reads another cluster's state"),
    ("on", "it runs programs at events of the server"),
    ("pprof", "it is for Go's runtime"),
    ("proxyproto", "the PROXY protocol is not spoken"),
    ("quic", "QUIC is served as it is; limits are fixed"),
    ("route53", "use secondary, or forward to the cloud's resolver"),
    ("shed", "each thread drops what is above its bound"),
    ("sign", "use dnssec, which signs as it answers"),
    ("trace", "use log, dnstap or `bowline dns explain`"),
    ("tsig", "transaction signatures are not spoken"),
    ("alternate", "it is not part of CoreDNS; forward has failover"),
    ("fanout", "it is not part of CoreDNS; use forward"),
    ("kubernetai", "it is not part of CoreDNS; give --state several times"),
    ("unbound", "it is not part of CoreDNS; forward to one"),
];

/// Whether a directive is one that is here.
///
/// # Errors
/// It is not; the problem says whether it is known, or which name is near.
pub fn check(directive: &Directive) -> Result<(), CorefileError> {
    if PLUGINS.iter().any(|(name, _)| *name == directive.name) {
        return Ok(());
    }
    if let Some((name, instead)) = KNOWN.iter().find(|(name, _)| *name == directive.name) {
        return Err(directive.error(format!("{name} is known, but not supported here: {instead}")));
    }
    let names = PLUGINS.iter().map(|(name, _)| *name);
    Err(directive.error(match nearest(&directive.name, names) {
        Some(near) => format!("is no plugin; did you mean {near}?"),
        None => "is no plugin; docs/plugins.md lists those there are".to_owned(),
    }))
}
