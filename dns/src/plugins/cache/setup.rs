//! `cache [TTL] [ZONES...] { options }`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::settings::{Bounds, Mode, Settings};
use super::store::{LIMIT, Share, Store};
use super::{Cache, Inner};
use crate::corefile::{CorefileError, Directive};
use crate::plugin::zones::Zones;
use crate::plugin::{Building, Plugin, only_one};

const KNOWN: &[&str] =
    &["success", "denial", "prefetch", "serve_stale", "serve_stale_policy", "servfail", "disable", "keepttl"];

/// `cache`, once in a block.
///
/// # Errors
/// What is wrong with it.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = only_one(directives)?;
    let mut settings = Settings::default();
    let mut args = &directive.args[..];
    if let Some(number) = args.first().and_then(|arg| arg.parse::<i64>().ok()) {
        let ttl = u32::try_from(number).ok().filter(|ttl| *ttl > 0);
        let ttl = ttl.ok_or_else(|| directive.error(format!("a TTL of {number}s is not possible; use 1 or more")))?;
        (settings.success.most, settings.denial.most) = (ttl, ttl);
        args = &args[1..];
    }
    let zones = Zones::read(directive, args, building)?;
    for line in directive.body() {
        line.no_body()?;
        option(line, &mut settings)?;
    }
    let policy = directive.body().iter().find(|line| line.name == "serve_stale_policy");
    if let Some(policy) = policy.filter(|_| settings.stale.is_none()) {
        return Err(policy.error("needs serve_stale; add it"));
    }
    let store = building.services.kept.get("cache", || Store::new(LIMIT));
    let share = Arc::new(Share::new([settings.success.capacity, settings.denial.capacity]));
    let metrics = building.services.metrics.clone();
    Ok(Some(Arc::new(Cache(Arc::new(Inner { settings, zones, store, share, metrics, series: OnceLock::new() })))))
}

fn option(line: &Directive, settings: &mut Settings) -> Result<(), CorefileError> {
    match line.name.as_str() {
        "success" => bounds(line, &mut settings.success)?,
        "denial" => bounds(line, &mut settings.denial)?,
        "prefetch" => prefetch(line, settings)?,
        "serve_stale" => serve_stale(line, settings)?,
        "serve_stale_policy" => {
            if settings.prefer_positive {
                return Err(line.error("is there already; remove one"));
            }
            if !line.one_arg()?.eq_ignore_ascii_case("prefer_positive") {
                return Err(line.error("the only policy is prefer_positive"));
            }
            settings.prefer_positive = true;
        }
        "servfail" => {
            line.one_arg()?;
            let time = line.duration(0)?;
            if time > Duration::from_secs(300) {
                return Err(line.error("failures may be kept for 5m at most (RFC 2308 section 7.1)"));
            }
            settings.servfail = time.as_secs() as u32;
        }
        "disable" => {
            let args = line.args_between(1, usize::MAX)?;
            let place = match args[0].as_str() {
                "success" => 0,
                "denial" => 1,
                other => return Err(line.error(format!("{other:?} is no kind; use success or denial"))),
            };
            settings.excepted[place] = if args.len() == 1 {
                Zones::new([crate::wire::Name::root()])
            } else {
                let mut zones = Vec::new();
                for arg in &args[1..] {
                    let name = crate::wire::Name::parse(arg);
                    zones.push(name.map_err(|error| line.error(format!("{arg:?} is no zone: {error}")))?);
                }
                Zones::new(zones)
            };
        }
        "keepttl" => {
            line.no_args()?;
            settings.keep_ttl = true;
        }
        _ => return Err(line.unknown_option(KNOWN)),
    }
    Ok(())
}

/// `success|denial CAPACITY [TTL] [MINTTL]`
fn bounds(line: &Directive, bounds: &mut Bounds) -> Result<(), CorefileError> {
    let args = line.args_between(1, 3)?.len();
    bounds.capacity = line.parse(0, "a number of answers")?;
    if args > 1 {
        bounds.most = line.parse(1, "a TTL in seconds, 1 or more")?;
        if bounds.most == 0 {
            return Err(line.error("a TTL of 0 s is not possible; use 1 or more, or disable"));
        }
    }
    if args > 2 {
        bounds.least = line.parse(2, "a TTL in seconds")?;
    }
    Ok(())
}

/// `prefetch AMOUNT [[DURATION] [PERCENTAGE%]]`
fn prefetch(line: &Directive, settings: &mut Settings) -> Result<(), CorefileError> {
    let args = line.args_between(1, 3)?.len();
    settings.prefetch = line.parse(0, "a number of questions")?;
    if args > 1 {
        settings.prefetch_gap = line.duration(1)?;
    }
    if let Some(text) = line.arg(2) {
        let percent = text.strip_suffix('%').and_then(|text| text.parse().ok()).filter(|n| (10..=90).contains(n));
        settings.prefetch_percent =
            percent.ok_or_else(|| line.error(format!("{text:?} is not a percentage from 10% to 90%")))?;
    }
    Ok(())
}

/// `serve_stale [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]`
fn serve_stale(line: &Directive, settings: &mut Settings) -> Result<(), CorefileError> {
    let args = line.args_between(0, 5)?.len();
    settings.stale = Some(if args > 0 { line.duration(0)? } else { Duration::from_secs(3600) });
    (settings.stale_ttl, settings.recheck) = (0, Duration::ZERO);
    let mode = line.arg(1).unwrap_or("immediate").to_ascii_lowercase();
    let ttl_at = match mode.as_str() {
        "immediate" => {
            settings.mode = Mode::Immediate;
            line.args_between(0, 4)?;
            2
        }
        "verify" => {
            settings.mode = Mode::Verify(if args > 2 { line.duration(2)? } else { Duration::ZERO });
            3
        }
        _ => return Err(line.error(format!("{mode:?} is no mode; use immediate or verify"))),
    };
    if args > ttl_at {
        let ttl = line.duration(ttl_at)?;
        let seconds = u32::try_from(ttl.as_secs()).ok().filter(|_| ttl.subsec_nanos() == 0);
        settings.stale_ttl = seconds.ok_or_else(|| line.error("the TTL of stale answers must be whole seconds"))?;
    }
    if args > ttl_at + 1 {
        settings.recheck = line.duration(ttl_at + 1)?;
        if settings.recheck > Duration::from_secs(300) {
            return Err(line.error("a failed refresh must be tried again within 5m (RFC 8767 section 5)"));
        }
    }
    Ok(())
}
