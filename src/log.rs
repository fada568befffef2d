//! Logs: to stderr, a message and key=value pairs, or one JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::LogFormat;

/// Starts logging; called once.
pub(crate) fn start(format: LogFormat, verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 | 3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
