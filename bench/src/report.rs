//! Rows of the table, and the machine they were measured on.

use std::fmt;
use std::fs;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A machine whose CPUs are busier than this, in percent, does something else too.
const QUIET: f64 = 5.0;

/// Of another build's number, ours shall have at least this: what is less is no noise.
const AS_GOOD: f64 = 0.97;

/// One claim.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The number that the goal is about, with its unit.
    pub(crate) measured: String,
    /// What it is to be held against, measured in the same run.
    pub(crate) reference: String,
    /// The goal in words; empty for a row that only explains another.
    pub(crate) goal: String,
    /// Whether it is met; None: there is none.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// A row without a goal: a part of another row, or a control.
    pub(crate) fn plain(what: impl Into<String>, measured: impl Into<String>, reference: impl Into<String>) -> Row {
        let (what, measured, reference) = (what.into(), measured.into(), reference.into());
        Row { what, measured, reference, goal: String::new(), met: None }
    }

    /// What the build beside ours has in the row before; a ratio above 1 says that ours is better.
    pub(crate) fn beside(theirs: impl Into<String>, ratio: f64) -> Row {
        let met = ratio >= AS_GOOD;
        Row::plain("- of the build beside", format!("{ratio:.3} x"), theirs).goal(format!(">= {AS_GOOD}"), met)
    }

    /// The same row with a goal.
    pub(crate) fn goal(self, goal: impl Into<String>, met: bool) -> Row {
        Row { goal: goal.into(), met: Some(met), ..self }
    }
}

/// All rows, and what the machine was doing before the first.
#[derive(Debug)]
pub(crate) struct Table {
    machine: String,
    rows: Vec<Row>,
}

impl Table {
    /// An empty one.
    ///
    /// # Errors
    /// /proc can't be read.
    pub(crate) fn new() -> Result<Table> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let cpus = std::thread::available_parallelism()?;
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let model =
            info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("").trim_start_matches([':', '\t', ' ']);
        let busy = busy()?;
        let quiet = if busy > QUIET { " (NOT QUIET: times are those of a busy machine)" } else { "" };
        let seconds = clock_gettime(ClockId::Realtime).tv_sec;
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let machine = format!(
            "{year}-{month:02}-{day:02}, {cpus} CPUs ({model}), Linux {}, {busy:.0} % busy before{quiet}",
            kernel.trim()
        );
        Ok(Table { machine, rows: Vec::new() })
    }

    /// Adds a row, and shows it to whoever waits.
    pub(crate) fn add(&mut self, row: Row) {
        let reference = if row.reference.is_empty() { String::new() } else { format!(" ({})", row.reference) };
        eprintln!("  {}: {}{reference}", row.what, row.measured);
        self.rows.push(row);
    }

    /// Writes one JSON object a row.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn json(&self, to: &mut dyn Write) -> Result<()> {
        for row in &self.rows {
            writeln!(to, "{}", serde_json::to_string(row)?)?;
        }
        Ok(())
    }
}

/// Markdown, with columns that line up in a terminal too.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = |row: &Row| match row.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let head = ["what", "measured", "reference, same run", "goal", "met"].map(str::to_owned);
        let cells = self
            .rows
            .iter()
            .map(|r| [r.what.clone(), r.measured.clone(), r.reference.clone(), r.goal.clone(), met(r).to_owned()]);
        let lines: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        writeln!(f, "{}\n", self.machine)?;
        for (index, line) in lines.iter().enumerate() {
            for (width, cell) in widths.iter().zip(line) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        let goals = self.rows.iter().filter(|r| r.met.is_some()).count();
        let met = self.rows.iter().filter(|r| r.met == Some(true)).count();
        writeln!(f, "\n{met} of {goals} goals met")
    }
}

/// How busy all CPUs are during a second, in percent.
fn busy() -> Result<f64> {
    let look = || -> Result<(u64, u64)> {
        let stat = fs::read_to_string("/proc/stat")?;
        let times = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let times: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>()?;
        // Fourth and fifth: idle, and idle while something waits for a disk.
        Ok((times.iter().sum(), times.iter().skip(3).take(2).sum()))
    };
    let (total, idle) = look()?;
    std::thread::sleep(Duration::from_secs(1));
    let (total, idle) = (look()?.0 - total, look()?.1 - idle);
    Ok(100.0 * (1.0 - idle as f64 / total.max(1) as f64).max(0.0))
}

/// Year, month and day of a number of days since 1970 (the civil calendar, by eras of 400 years).
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
