//! The flags that say which clusters there are.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use bowline_sources::kubernetes::{self, Access};
use bowline_sources::state_ref::{StateKind, StateRef, StateRefError};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use http::Uri;
use ipnet::IpNet;

/// Reads a state without repeating it where it is refused: somebody may have written a password into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quietly;

impl TypedValueParser for Quietly {
    type Value = StateRef;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<StateRef, clap::Error> {
        let refuse = |message: &str| {
            let message = format!("--state (or BOWLINE_STATE): {message}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        };
        value
            .to_str()
            .ok_or_else(|| refuse("is not UTF-8"))?
            .parse()
            .map_err(|error: StateRefError| refuse(&error.to_string()))
    }
}

/// Addresses of one API server.
#[derive(Clone, Debug)]
struct Apiservers(Vec<Uri>);

fn apiservers(text: &str) -> Result<Apiservers, String> {
    if text.is_empty() {
        // A manifest whose setting is still empty: the source itself says why it can't do without.
        return Ok(Apiservers(Vec::new()));
    }
    kubernetes::apiservers(text).map(Apiservers)
}

/// A span as Go writes it, longer than nothing.
fn span(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let bad = || "write a span such as 15m0s, 1h30m or 500ms".to_owned();
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() && rest != "0" {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| digits + n);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == &rest[digits..unit]).ok_or_else(bad)?;
        seconds += number * length;
        rest = &rest[unit..];
    }
    match Duration::try_from_secs_f64(seconds) {
        // Go's own bound, some 292 years.
        Ok(span) if !span.is_zero() && span.as_nanos() <= i64::MAX as u128 => Ok(span),
        Ok(span) if span.is_zero() => Err("it must be longer than nothing".to_owned()),
        _ => Err("it is longer than any".to_owned()),
    }
}

/// The flags that say which states there are.
#[derive(Clone, Debug, Args)]
pub(crate) struct StateArgs {
    /// Where the cluster's objects come from: files:DIR, etcd:URL,URL or kubernetes
    ///
    /// files:DIR reads a folder of Kubernetes manifests (YAML or JSON).
    /// etcd:URL,URL?prefix=/bowline&cacert=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE reads what
    /// `bowline apply` stored; all after ? may be left out. kubernetes:KUBECONFIG?context=NAME&apiserver=URL,URL
    /// reads a Kubernetes API server; all after `kubernetes` may be left out, and in a pod its service account
    /// serves. May be given several times, with a name each (east=kubernetes:FILE): the first is this node's own
    /// cluster, the others are followed beside it.
    #[arg(
        long = "state",
        value_name = "[NAME=]SOURCE",
        env = "BOWLINE_STATE",
        value_parser = Quietly
    )]
    states: Vec<StateRef>,
    /// How to reach Kubernetes, for a state `kubernetes` that doesn't say it itself
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Addresses of the API server, tried in turn, for such a state
    ///
    /// In a pod these are needed: the address that Kubernetes names there (KUBERNETES_SERVICE_HOST) is a
    /// Service's, which has no one behind it before Bowline has read the state.
    #[arg(long, value_name = "URL,URL", value_parser = apiservers)]
    apiserver: Option<Apiservers>,
    /// How often what is known of a cluster is compared with what its API server or etcd has, and mended
    ///
    /// Names and versions are asked for, in pages. Spans are written as Go has them: 15m0s, 1h30m, 500ms. More often
    /// than once a second nothing is compared.
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = span)]
    pub(crate) config_sync_period: Duration,
    /// Ranges for Service addresses that manifests leave out, one a family; the first gives the default
    /// family
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_value = "10.96.0.0/12,fd00:10:96::/112")]
    pub(crate) service_cluster_ip_range: Vec<IpNet>,
}

impl StateArgs {
    /// Whether a state is named.
    pub(crate) fn is_given(&self) -> bool {
        !self.states.is_empty()
    }

    /// A way to Kubernetes, with what the flags add where it doesn't say it itself.
    pub(crate) fn reach(&self, access: Access) -> Access {
        let urls = self.apiserver.as_ref().map_or(&[][..], |urls| &urls.0);
        access.or(self.kubeconfig.as_deref(), urls)
    }

    /// The states, this node's own first.
    ///
    /// # Errors
    /// Two have one name, or a flag belongs to none of them.
    pub(crate) fn states(&self) -> anyhow::Result<Vec<StateRef>> {
        let mut states = self.states.clone();
        let mut used = false;
        for state in &mut states {
            state.sync_period = self.config_sync_period;
            if let StateKind::Kubernetes(access) = &mut state.kind {
                *access = self.reach(std::mem::take(access));
                used = true;
            }
        }
        if !states.is_empty() && !used && (self.kubeconfig.is_some() || self.apiserver.is_some()) {
            anyhow::bail!("--kubeconfig and --apiserver belong to --state kubernetes, which is not given");
        }
        for (index, state) in states.iter().enumerate() {
            if states[..index].iter().any(|other| other.name == state.name) {
                anyhow::bail!(
                    "two --state are called {}; give each a name of its own: --state NAME=SOURCE",
                    state.name
                );
            }
        }
        Ok(states)
    }
}

#[cfg(test)]
mod tests;
