//! The flags with one dash that CoreDNS's users write.

use std::ffi::OsString;

/// Flags of CoreDNS and node-cache, which write them with one dash.
const FLAGS: [&str; 20] = [
    "conf",
    "dns.port",
    "pidfile",
    "plugins",
    "quiet",
    "version",
    "localip",
    "interfacename",
    "setupinterface",
    "setupiptables",
    "skipteardown",
    "upstreamsvc",
    "basecorefile",
    "metrics-listen-address",
    "corefile",
    "kubednscm",
    "syncinterval",
    "initialdelay",
    "setupebtables",
    "health-port",
];

/// The command line, with two dashes where CoreDNS and node-cache write one: their manifests' `args` work as they are.
pub(crate) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.collect();
    let is_dns = args.get(1).is_some_and(|command| command == "dns" || command == "node");
    let long = |arg: OsString| match arg.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(flag) if FLAGS.contains(&flag.split('=').next().unwrap_or(flag)) => format!("--{flag}").into(),
        _ => arg,
    };
    if is_dns { args.into_iter().map(long).collect() } else { args }
}

#[cfg(test)]
mod tests;
