//! Failures that are told together: how many were alike in a span of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use regex::Regex;
use tokio::sync::Notify;

use crate::corefile::{CorefileError, Directive};

/// Longest pattern, in bytes.
const LONGEST: usize = 10_000;

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Warning,
    Error,
    Info,
    Debug,
}

impl Level {
    fn read(word: &str) -> Option<Level> {
        Some(match word {
            "warning" => Level::Warning,
            "error" => Level::Error,
            "info" => Level::Info,
            "debug" => Level::Debug,
            _ => return None,
        })
    }

    pub(super) fn log(self, line: &str) {
        match self {
            Level::Warning => tracing::warn!("{line}"),
            Level::Error => tracing::error!("{line}"),
            Level::Info => tracing::info!("{line}"),
            Level::Debug => tracing::debug!("{line}"),
        }
    }
}

/// `consolidate`
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    period: Duration,
    pub(super) level: Level,
    show_first: bool,
    /// Failures of this period.
    pub(super) count: AtomicU64,
    began: Notify,
}

impl Pattern {
    /// Reads `consolidate DURATION REGEXP [LEVEL] [show_first]`.
    pub(super) fn read(option: &Directive) -> Result<Pattern, CorefileError> {
        let args = option.args_between(2, 4)?;
        let period = option.duration(0)?;
        let text = args.get(1).map_or("", String::as_str);
        if text.len() > LONGEST {
            return Err(option.error(format!("the pattern is longer than {LONGEST} bytes")));
        }
        let regex = Regex::new(text).map_err(|error| option.error(format!("{text:?} is no pattern: {error}")))?;
        let (level, rest) = match args.get(2).and_then(|word| Level::read(word)) {
            Some(level) => (level, &args[3..]),
            None => (Level::Error, &args[2..]),
        };
        let show_first = match rest {
            [] => false,
            [word] if word == "show_first" => true,
            _ => {
                let message = "after the pattern takes a level (warning, error, info or debug), then show_first";
                return Err(option.error(message));
            }
        };
        let (count, began) = (AtomicU64::new(0), Notify::new());
        Ok(Pattern { regex, period, level, show_first, count, began })
    }

    pub(super) fn is_like(&self, reason: &str) -> bool {
        self.regex.is_match(reason)
    }

    /// One more. Whether it is to be told by itself.
    pub(super) fn count(&self) -> bool {
        let is_first = self.count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first {
            self.began.notify_one();
        }
        is_first && self.show_first
    }

    /// What there is to say at the end of a period.
    pub(super) fn summary(&self) -> Option<String> {
        let count = self.count.swap(0, Ordering::Relaxed);
        let is_news = count > u64::from(self.show_first);
        let (regex, period) = (self.regex.as_str(), shown(self.period));
        is_news.then(|| format!("plugin/errors: {count} errors like '{regex}' occurred in last {period}"))
    }
}

impl Pattern {
    fn tell(&self) {
        if let Some(line) = self.summary() {
            self.level.log(&line);
        }
    }
}

/// Tells what has been counted even if the instance is replaced before the period is over.
struct Told(Arc<Pattern>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// Tells of each period that had failures.
pub(super) async fn summarize(pattern: Arc<Pattern>) {
    let told = Told(pattern);
    loop {
        told.0.began.notified().await;
        tokio::time::sleep(told.0.period).await;
        told.0.tell();
    }
}

/// A span of time as Go prints it: `30s`, `5m0s`, `1h0m0s`, `100ms`.
fn shown(span: Duration) -> String {
    let seconds = span.as_secs();
    if span < Duration::from_secs(1) {
        return format!("{span:?}");
    }
    let fraction = f64::from(span.subsec_nanos()) / 1e9;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = (seconds % 60) as f64 + fraction;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}
