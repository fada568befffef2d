//! `metadata`: has the plugins say what they know of a question before they are asked to answer it, for those that use
//! it (`rewrite`, `template`, `view`, `log`).

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::zones::Zones;
use crate::plugin::{Building, Plugin};

/// `metadata [ZONES...]`
///
/// # Errors
/// It is there twice, has a block, or names what is no zone.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for (n, directive) in directives.iter().enumerate() {
        directive.no_body()?;
        if n > 0 {
            return Err(directive.error("is there already; name all zones in one line"));
        }
        building.block.metadata = Some(Zones::read(directive, &directive.args, building)?);
    }
    // The server collects it, before it asks the plugins.
    Ok(None)
}
