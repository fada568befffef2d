//! What a panic does, ours or a library's: it is said in one line, and never goes unnoticed.
//!
//! Where somebody waits for its end, it ends that alone: a question of DNS is answered with SERVFAIL, a connection is
//! closed. Anywhere else it ends the process, with exit code 101: a part that is silently gone, or fails again for ever,
//! would be worse. What the kernel has goes on, and who started the process starts it again.

use std::panic::PanicHookInfo;

/// The exit code, as Rust has it.
const CODE: i32 = 101;

/// To be called once, when logging has begun.
#[allow(clippy::disallowed_methods, reason = "nobody can return from a thread that isn't ours to end")]
pub fn watch() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let ends = !bowline_dns::caught::is_awaited();
        tracing::error!(
            thread = name,
            at = info.location().map(ToString::to_string),
            ends_the_process = ends,
            "a fault of this program: {}; please report it",
            message(info)
        );
        if ends {
            crate::log::end();
            std::process::exit(CODE);
        }
    }));
}

/// In one line.
fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it says nothing").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
