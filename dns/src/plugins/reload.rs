//! `reload`: looks at the Corefile, and at what it imports, for changes. The reload itself is the server's
//! (`server::running`).

use std::sync::Arc;
use std::time::Duration;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin, Reload};

#[cfg(test)]
mod tests;

const INTERVAL: Duration = Duration::from_secs(30);
const JITTER: Duration = Duration::from_secs(15);
const LEAST_INTERVAL: Duration = Duration::from_secs(2);
const LEAST_JITTER: Duration = Duration::from_secs(1);

/// `reload [INTERVAL] [JITTER]`
///
/// # Errors
/// A duration can't be read, or is below its bound.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        building.reload(read(directive, fastrand::f64())?);
    }
    Ok(None)
}

/// `random`: from 0 up to 1.
fn read(directive: &Directive, random: f64) -> Result<Reload, CorefileError> {
    directive.no_body()?;
    let count = directive.args_between(0, 2)?.len();
    let interval = if count > 0 { directive.duration(0)? } else { INTERVAL };
    let jitter = if count > 1 { directive.duration(1)? } else { JITTER };
    if interval < LEAST_INTERVAL {
        return Err(directive.error(format!("the interval must be {LEAST_INTERVAL:?} or more")));
    }
    if !jitter.is_zero() && jitter < LEAST_JITTER {
        return Err(directive.error(format!("the jitter must be 0 or {LEAST_JITTER:?} or more")));
    }
    // Half of the jitter to either side, so that not all servers of a cluster look at the same moment.
    let jitter = jitter.min(interval / 2);
    Ok(Reload { interval: interval - jitter / 2 + jitter.mul_f64(random) })
}
