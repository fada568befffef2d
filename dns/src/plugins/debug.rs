//! `debug`: plugins may log more for this block. A panic is caught here all the same: this program does more than DNS.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

/// `debug`
///
/// # Errors
/// It has arguments.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_args()?;
        directive.no_body()?;
        building.block.debug = true;
    }
    Ok(None)
}
