//! `root`: the folder at which relative paths of the block begin.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

/// `root PATH`
///
/// # Errors
/// It has no argument, or several, or the folder can't be looked at.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    for directive in directives {
        directive.no_body()?;
        let path = building.path(directive.one_arg()?);
        match path.try_exists() {
            Ok(true) => {}
            // It may appear later.
            Ok(false) => tracing::warn!("{}: root: {} is not there", directive.place, path.display()),
            Err(error) => return Err(directive.error(format!("{} can't be looked at: {error}", path.display()))),
        }
        building.folder = path;
    }
    Ok(None)
}
