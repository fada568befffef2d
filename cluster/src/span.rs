//! Spans of time as kubectl writes them: `5s`, `2m30s`, `5d3h`.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// A span of time, by Kubernetes' duration.HumanDuration: two or three digits, no more than two units.
pub fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with = |big: u64, unit: &str, small: u64, of: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{of}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => with(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => with(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => with(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// How long ago something was, in seconds. What is in the future by more than the clocks of two machines differ is
/// invalid, as kubectl says.
pub fn ago(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(seconds) => human(Duration::from_secs(seconds)),
        Err(_) if seconds >= -1 => "0s".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// A span of time to the millisecond, where more than two digits count: `1h30m`, `1.5s`, `100ms`.
pub fn exact(span: Duration) -> String {
    let milliseconds = span.as_millis();
    match milliseconds {
        0 => return "0s".to_owned(),
        1..1000 => return format!("{milliseconds}ms"),
        _ => {}
    }
    let seconds = milliseconds / 1000;
    let mut text = String::new();
    for (count, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    match (seconds % 60, milliseconds % 1000) {
        (0, 0) => {}
        (seconds, 0) => text.push_str(&format!("{seconds}s")),
        (seconds, rest) => {
            text.push_str(format!("{seconds}.{rest:03}").trim_end_matches('0'));
            text.push('s');
        }
    }
    text
}
