//! What only root may do is said before anything else is tried.

use bowline_dataplane::check::missing_capabilities;

/// Fails where this process may not do what a command needs.
///
/// # Errors
/// It is not root, nor has it root's capabilities.
pub(crate) fn need(command: &str, what: &str) -> anyhow::Result<()> {
    let missing = missing_capabilities();
    anyhow::ensure!(
        missing.is_empty(),
        "`bowline {command}` {what}, which only root may do: run it as root (`sudo bowline {command} ...`); {} missing",
        missing.join(", ") + if missing.len() == 1 { " is" } else { " are" }
    );
    Ok(())
}
