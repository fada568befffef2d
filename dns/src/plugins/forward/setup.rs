//! `forward FROM TO... { options }`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bowline_cluster::span::exact;
use bowline_tls::Files;
use rustls::pki_types::ServerName;

use super::metrics::{Counts, Series};
use super::policy::Policy;
use super::proxy::{Check, Proxy};
use super::to::{self, To};
use super::{Forward, Forwarder, Options, lookup};
use crate::corefile::{CorefileError, Directive, key};
use crate::plugin::{Building, Plugin};
use crate::upstream::{By, Endpoint, Settings, Upstream};
use crate::wire::{Message, Name, Question, Rcode, Type};

/// The most `TO`s of a directive.
const MOST: usize = 15;

const KNOWN: &[&str] = &[
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_fails",
    "max_connect_attempts",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "source_address",
    "resolver",
    "random_case",
];

/// What the braces say.
struct Read {
    except: Vec<Name>,
    policy: Policy,
    options: Options,
    settings: Settings,
    interval: Duration,
    recursion: bool,
    domain: Name,
    files: Files,
    server_name: Option<String>,
    /// The server that knows the addresses of hosts.
    resolvers: Vec<SocketAddr>,
}

/// `forward`, any number of times.
///
/// # Errors
/// What is wrong with one of them.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let forwarders = directives.iter().map(|directive| forwarder(building, directive)).collect::<Result<_, _>>()?;
    building.block.takes_any_class = true;
    Ok(Some(Arc::new(Forward { forwarders })))
}

fn forwarder(building: &mut Building<'_>, directive: &Directive) -> Result<Forwarder, CorefileError> {
    let args = directive.args_between(2, usize::MAX)?;
    let from = zones(directive, &args[0])?;
    let [from, more @ ..] = &from[..] else {
        return Err(directive.error(format!("{:?} names no zone", args[0])));
    };
    if !more.is_empty() {
        tracing::warn!("{}: forward: {} is several zones; only {from} is forwarded", directive.place, args[0]);
    }
    if args.len() > MOST + 1 {
        return Err(directive.error(format!("has {} upstreams; at most {MOST} are possible", args.len() - 1)));
    }
    let read = options(building, directive)?;
    let mut tos: Vec<To> = Vec::new();
    for text in &args[1..] {
        let found = to::read(text, |path| building.path(path), |host| lookup::host(host, &read.resolvers));
        for to in found.map_err(|reason| directive.error(reason))? {
            if !tos.iter().any(|known| known.address == to.address) {
                tos.push(to);
            }
        }
    }
    if tos.is_empty() {
        return Err(directive.error("names nobody to ask: no file of it has a nameserver line"));
    }
    let proxies = proxies(building, directive, &read, &tos)?;
    let Read { except, policy, options, .. } = read;
    Ok(Forwarder {
        from: from.clone(),
        except,
        proxies,
        policy,
        options,
        concurrent: AtomicUsize::new(0),
        counts: Counts::new(&building.services.metrics),
    })
}

fn proxies(
    building: &mut Building<'_>,
    directive: &Directive,
    read: &Read,
    tos: &[To],
) -> Result<Vec<Arc<Proxy>>, CorefileError> {
    let config = match tos.iter().any(|to| to.is_tls) {
        true => Some(Arc::new(read.files.load().map_err(|error| directive.error(error.to_string()))?)),
        false => None,
    };
    let mut proxies = Vec::new();
    for to in tos {
        let tls = match &config {
            Some(config) if to.is_tls => {
                Some((config.clone(), server_name(read, to).map_err(|error| directive.error(error))?))
            }
            _ => None,
        };
        let is_tls = tls.is_some();
        let label = to.address.to_string();
        let series = Arc::new(Series::new(building.services.metrics.clone(), &label, is_tls));
        let endpoint = Endpoint { address: to.address, tls };
        let upstream = Upstream::new(endpoint, read.settings.clone(), Some(series.clone()));
        let proxy = Arc::new(Proxy::new(label, upstream, series));
        if read.options.max_fails > 0 {
            let check = Check {
                message: question(&read.domain, read.recursion),
                interval: read.interval,
                by: if read.options.force_tcp { By::Tcp } else { By::Udp },
                max_fails: read.options.max_fails,
            };
            building.spawn("forward: health checks", proxy.clone().keep_checking(check));
        }
        proxies.push(proxy);
    }
    Ok(proxies)
}

/// The name by which a server must prove itself; without one, its address.
fn server_name(read: &Read, to: &To) -> Result<ServerName<'static>, String> {
    let name = match (&read.server_name, &to.server_name) {
        (Some(all), Some(one)) => {
            return Err(format!("{}: tls_servername {all} and %{one} are both set; use one", to.address));
        }
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => return Ok(ServerName::IpAddress(to.address.ip().into())),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))
}

/// What a health check asks: the name servers of a name.
fn question(domain: &Name, recursion: bool) -> Vec<u8> {
    let mut message = Message::default();
    message.flags.set_rd(recursion);
    message.questions.push(Question::new(domain.clone(), Type::NS));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn zones(directive: &Directive, text: &str) -> Result<Vec<Name>, CorefileError> {
    key::zones_of(text).map_err(|reason| directive.error(reason))
}

fn options(building: &Building<'_>, directive: &Directive) -> Result<Read, CorefileError> {
    let mut read = Read {
        except: Vec::new(),
        policy: Policy::Random,
        options: Options {
            force_tcp: false,
            prefer_udp: false,
            max_fails: 2,
            max_concurrent: 0,
            max_connect_attempts: None,
            failfast: false,
            next: Vec::new(),
            next_on_nodata: false,
            failover: Vec::new(),
        },
        settings: Settings::default(),
        interval: Duration::from_millis(500),
        recursion: true,
        domain: Name::root(),
        files: Files::default(),
        server_name: None,
        resolvers: Vec::new(),
    };
    for line in directive.body() {
        line.no_body()?;
        option(building, line, &mut read)?;
    }
    let Settings { idle, max_age, .. } = read.settings;
    if let Some(age) = max_age
        && age < idle
    {
        return Err(directive.error(format!(
            "max_age {} is less than expire {}; make it longer",
            exact(age),
            exact(idle)
        )));
    }
    Ok(read)
}

fn option(building: &Building<'_>, line: &Directive, read: &mut Read) -> Result<(), CorefileError> {
    let Read { options, settings, .. } = read;
    match line.name.as_str() {
        "except" => {
            for text in line.args_between(1, usize::MAX)? {
                read.except.extend(zones(line, text)?);
            }
        }
        "force_tcp" => options.force_tcp = flag(line)?,
        "prefer_udp" => options.prefer_udp = flag(line)?,
        "next_on_nodata" => options.next_on_nodata = flag(line)?,
        "failfast_all_unhealthy_upstreams" => options.failfast = flag(line)?,
        "random_case" => settings.random_case = flag(line)?,
        "expire" => settings.idle = duration(line)?,
        "max_age" => settings.max_age = Some(duration(line)?).filter(|age| !age.is_zero()),
        "read_timeout" => {
            settings.timeout = duration(line)?;
            if settings.timeout.is_zero() {
                return Err(line.error("must be more than 0"));
            }
        }
        "max_idle_conns" => settings.max_open = Some(number(line)?).filter(|most| *most > 0),
        "max_fails" => options.max_fails = number(line)?,
        "max_connect_attempts" => options.max_connect_attempts = Some(number(line)?),
        "max_concurrent" => options.max_concurrent = number(line)?,
        "next" => options.next.extend(rcodes(line)?),
        "failover" => {
            let rcodes = rcodes(line)?;
            if rcodes.contains(&Rcode::NOERROR) {
                return Err(line.error("NOERROR can't be failed over; leave it out"));
            }
            options.failover.extend(rcodes);
        }
        "policy" => {
            let name = line.one_arg()?;
            let known = Policy::NAMES.join(", ");
            read.policy =
                Policy::named(name).ok_or_else(|| line.error(format!("{name:?} is no policy; known are {known}")))?;
        }
        "health_check" => health_check(line, read)?,
        "tls" => {
            let path = |at: usize| line.arg(at).map(|path| building.path(path));
            let args = line.args_between(0, 3)?.len();
            read.files.own = if args >= 2 { path(0).zip(path(1)) } else { None };
            read.files.authority = if args == 1 { path(0) } else { path(2) };
            // What is wrong with the files is told at their line, asked over TLS or not.
            read.files.load().map_err(|reason| line.error(reason))?;
            for doubt in read.files.doubts() {
                tracing::warn!("{}: plugin/forward: {doubt}", line.place);
            }
        }
        "tls_servername" => read.server_name = Some(line.one_arg()?.to_owned()),
        "source_address" => {
            line.one_arg()?;
            settings.source = Some(line.parse::<IpAddr>(0, "an IP address")?);
        }
        "doh_method" => return Err(line.error("DNS over HTTPS is not spoken to upstreams; remove it")),
        "resolver" => {
            for word in line.args_between(1, usize::MAX)? {
                let ip = word.trim_start_matches('[').trim_end_matches(']').parse().map(|ip| SocketAddr::new(ip, 53));
                let address = word.parse().or(ip).map_err(|_| {
                    line.error(format!("{word:?} is no address; write 10.0.0.10, 10.0.0.10:53 or [2001:db8::1]:53"))
                })?;
                read.resolvers.push(address);
            }
        }
        _ => return Err(line.unknown_option(KNOWN)),
    }
    Ok(())
}

/// `health_check DURATION [no_rec] [domain FQDN]`
fn health_check(line: &Directive, read: &mut Read) -> Result<(), CorefileError> {
    line.args_between(1, 4)?;
    read.interval = line.duration(0)?;
    read.domain = Name::root();
    let mut words = line.args.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "no_rec" => read.recursion = false,
            "domain" => {
                let name = words.next().ok_or_else(|| line.error("domain needs a name"))?;
                read.domain = Name::parse(name).map_err(|error| line.error(format!("{name:?} is no name: {error}")))?;
            }
            _ => return Err(line.error(format!("{word:?} is unknown here; use no_rec, or domain NAME"))),
        }
    }
    Ok(())
}

fn flag(line: &Directive) -> Result<bool, CorefileError> {
    line.no_args().map(|()| true)
}

fn duration(line: &Directive) -> Result<Duration, CorefileError> {
    line.one_arg()?;
    line.duration(0)
}

fn number<T: std::str::FromStr>(line: &Directive) -> Result<T, CorefileError> {
    line.one_arg()?;
    line.parse(0, "a whole number that is not negative")
}

fn rcodes(line: &Directive) -> Result<Vec<Rcode>, CorefileError> {
    let read = |text: &String| {
        let named = text.parse::<Rcode>().ok().filter(|_| !text.to_ascii_uppercase().starts_with("RCODE"));
        named.ok_or_else(|| line.error(format!("{text:?} is no response code; use names such as NXDOMAIN")))
    };
    line.args_between(1, usize::MAX)?.iter().map(read).collect()
}
