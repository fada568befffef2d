//! Logs: to stderr, a message and key=value pairs, the same in CoreDNS's form, or one JSON object a line.
//!
//! ```text
//! whoever logs ─> lines that wait, 2 MB at most ─> one thread ─> stderr
//! ```
//!
//! Nobody waits for whoever reads the log, and nothing ends with it: a reader that has gone, a full disk or a pipe that
//! nobody empties costs lines. They are counted, and told of as soon as lines can be written again.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Bytes of lines that may wait.
const ROOM: usize = 2 << 20;
/// What a buffer keeps of its memory when it is empty.
const KEPT: usize = 64 << 10;
/// How long the end waits for the last lines.
const END: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Message and key=value pairs.
    Text,
    /// The same in CoreDNS's form: `[INFO] message`, without a time.
    Coredns,
    /// One JSON object a line.
    Json,
}

/// Lines on their way to stderr; none before [`start`].
static LINES: OnceLock<Lines> = OnceLock::new();
/// What else is told of lost lines.
static ON_LOSS: OnceLock<Box<dyn Fn(u64) + Send + Sync>> = OnceLock::new();

/// Starts logging; called once.
pub fn start(format: Format, verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 | 3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // Where there is no thread, lines are written by those who log.
    if std::thread::Builder::new().name("log".into()).spawn(|| LINES.get_or_init(Lines::default).write()).is_ok() {
        LINES.get_or_init(Lines::default);
    }
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(|| Out).log_internal_errors(false);
    match format {
        Format::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        Format::Coredns => builder.with_ansi(false).event_format(Coredns).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
}

/// Events of this target are lines of their own in CoreDNS's form, without a level: where it listens.
pub const BARE: &str = "bare";

/// CoreDNS's form: `[INFO] message key=value`. What reads its logs finds the level there, and behind it the lines of
/// `log` and `errors`.
struct Coredns;

impl<S, N> FormatEvent<S, N> for Coredns
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if event.metadata().target() != BARE {
            let level = match *event.metadata().level() {
                Level::ERROR => "ERROR",
                Level::WARN => "WARNING",
                Level::INFO => "INFO",
                _ => "DEBUG",
            };
            write!(writer, "[{level}] ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Says a line to who called the command. Never fails; behind what was logged, where logging has started.
pub fn tell(line: &str) {
    // Nothing is left to say it to.
    let _ = Out.write_all(format!("{line}\n").as_bytes());
}

/// Waits until what was logged is written, for a second at most.
pub fn end() {
    if let Some(lines) = LINES.get() {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.text.is_empty();
        drop(lines.written.wait_timeout_while(lines.waiting(), END, is_busy));
    }
}

/// How many lines were lost since the start.
pub fn lost() -> u64 {
    LINES.get().map_or(0, |lines| lines.lost.load(Ordering::Relaxed))
}

/// Tells `count` of each line that is lost from now on. For the first who asks.
pub fn on_loss(count: impl Fn(u64) + Send + Sync + 'static) {
    let _ = ON_LOSS.set(Box::new(count));
}

/// Where lines go.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match LINES.get() {
            Some(lines) => lines.put(bytes),
            None => drop(write(bytes)),
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    is_writing: bool,
}

#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    /// There are lines.
    come: Condvar,
    /// There are none.
    written: Condvar,
    lost: AtomicU64,
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more line, or several. Never waits for the reader.
    fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.text.len() + line.len() > ROOM {
            drop(waiting);
            return self.lose(lines(line));
        }
        let was_empty = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.come.notify_one();
        }
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        if let Some(count) = ON_LOSS.get() {
            count(lines);
        }
    }

    /// Writes what comes, for ever.
    fn write(&self) {
        let (mut text, mut told) = (Vec::new(), 0);
        loop {
            let none = |waiting: &mut Waiting| waiting.text.is_empty();
            let mut waiting = self.come.wait_while(self.waiting(), none).unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.text, &mut text);
            waiting.is_writing = true;
            drop(waiting);
            let unwritten = write(&text);
            if unwritten > 0 {
                self.lose(unwritten);
            }
            text.clear();
            text.shrink_to(KEPT);
            let lost = self.lost.load(Ordering::Relaxed);
            if unwritten == 0 && lost > told {
                tracing::warn!("{} lines of the log were lost, as they could not be written", lost - told);
                told = lost;
            }
            self.waiting().is_writing = false;
            self.written.notify_all();
        }
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Writes to stderr and returns how many lines could not be written.
fn write(mut text: &[u8]) -> u64 {
    let mut stderr = io::stderr();
    while !text.is_empty() {
        match stderr.write(text) {
            Ok(n) if n > 0 => text = &text[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares it has made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let wait = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
                if wait.is_err_and(|error| error != rustix::io::Errno::INTR) {
                    return lines(text);
                }
            }
            Ok(_) | Err(_) => return lines(text),
        }
    }
    0
}
