//! `multisocket`: accepted. Each thread that answers has sockets of its own at every address (SO_REUSEPORT), which is
//! what this asks of CoreDNS; their number is that of the threads.

use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

const MOST: u32 = 1024;

/// `multisocket [NUM_SOCKETS]`
///
/// # Errors
/// The number is not from 1 to 1024.
pub fn set_up(_: &mut Building<'_>, directives: &[&Directive]) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    directive.no_body()?;
    if !directive.args_between(0, 1)?.is_empty() {
        let number: u32 = directive.parse(0, "a number of sockets from 1 to 1024")?;
        if !(1..=MOST).contains(&number) {
            return Err(directive.error(format!("{number} is not a number of sockets from 1 to {MOST}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::plugins::testing::refused;

    #[test]
    fn set_ups_as_in_coredns() {
        for (text, says) in [
            ("multisocket", "accepted"),
            ("multisocket 2", "accepted"),
            ("multisocket 1024", "accepted"),
            ("multisocket 1025", "is not a number of sockets from 1 to 1024"),
            ("multisocket 0", "is not a number of sockets from 1 to 1024"),
            ("multisocket -2", "is not a number of sockets"),
            ("multisocket one", "is not a number of sockets"),
            ("multisocket 2 2", "takes 0 to 1 arguments"),
        ] {
            let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
            assert!(told.contains(says), "{text}: {told}");
        }
    }
}
