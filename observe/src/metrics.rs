//! Counters, gauges and histograms, and the page that shows them: Prometheus' text format 0.0.4, written as Go's
//! client writes it, so that what reads CoreDNS's page reads ours.
//!
//! A counter is kept in several cells, one a worker thread, each in a cache line of its own: the hot path adds to
//! memory that no other core writes. The page adds the cells up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
mod tests;

/// Upper ends of buckets for times, in seconds: from 0.25 ms to 8 s (CoreDNS's `TimeBuckets`).
pub const TIME_BUCKETS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];
/// Fewer: from 0.25 ms to 2.5 s (CoreDNS's `SlimTimeBuckets`).
pub const SLIM_TIME_BUCKETS: &[f64] = &[0.00025, 0.0025, 0.025, 0.25, 2.5];
/// For what takes longer: from 5 ms to 10 s (the default of Prometheus' client).
pub const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Cells of a counter. More threads than that share cells, which costs time and no count.
const CELLS: usize = 8;

#[repr(align(64))]
#[derive(Debug, Default)]
struct Line(AtomicU64);

/// The cell of this thread.
fn cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % CELLS));
    MINE.with(Cell::get)
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter([Line; CELLS]);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }
    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0[cell()].0.fetch_add(n, Ordering::Relaxed);
    }
    /// Brings it up to `n`, which somebody else counts.
    pub fn raise_to(&self, n: u64) {
        self.add(n.saturating_sub(self.get()));
    }
    /// How much it is.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
    /// Adds to it (or takes away).
    pub fn add(&self, by: f64) {
        let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // The closure always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
    /// How much it is.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How often values fell below each bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// The sum is kept in such parts: nanoseconds where it is of times, thousandths of what is larger (bytes).
    parts: f64,
    /// By cell: one count a bucket, the last for what is above all bounds; then the sum.
    cells: Box<[Box<[AtomicU64]>]>,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        // Each cell is an allocation of its own; room for a cache line more keeps neighbours apart.
        let cell = || (0..bounds.len() + 2 + 8).map(|_| AtomicU64::new(0)).collect();
        let parts = if bounds.last().is_none_or(|last| *last < 1000.0) { 1e9 } else { 1e3 };
        Histogram { bounds, parts, cells: (0..CELLS).map(|_| cell()).collect() }
    }
    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let cells = &self.cells[cell()];
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        cells[bucket].fetch_add(1, Ordering::Relaxed);
        cells[self.bounds.len() + 1].fetch_add((value * self.parts).round().max(0.0) as u64, Ordering::Relaxed);
    }
    fn bucket(&self, n: usize) -> u64 {
        self.cells.iter().map(|cell| cell[n].load(Ordering::Relaxed)).sum()
    }
    /// How many values it has counted.
    pub fn count(&self) -> u64 {
        (0..=self.bounds.len()).map(|n| self.bucket(n)).sum()
    }
    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.bucket(self.bounds.len() + 1) as f64 / self.parts
    }
}

#[derive(Clone, Debug)]
enum Series {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Histogram(Arc<Histogram>),
}

/// Joins a kind of number to [`Series`].
macro_rules! series {
    ($($kind:ident),*) => {$(
        impl From<Arc<$kind>> for Series {
            fn from(series: Arc<$kind>) -> Series {
                Series::$kind(series)
            }
        }
        impl TryFrom<&Series> for Arc<$kind> {
            type Error = ();
            fn try_from(series: &Series) -> Result<Arc<$kind>, ()> {
                if let Series::$kind(found) = series { Ok(found.clone()) } else { Err(()) }
            }
        }
    )*};
}
series!(Counter, Gauge, Histogram);

/// What is told of a series when it is asked for.
struct Told<'a> {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    labels: Labels<'a>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    /// By labels, as the page writes them, in the order of their names: `server="dns://:53",zone="."`.
    series: BTreeMap<String, Series>,
}

/// All series of a process. They outlive a reload of the Corefile, as counters must not fall.
#[derive(Debug, Default)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

/// Labels of a series: name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Registry {
    fn families(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn series<T>(&self, told: Told<'_>, new: impl Fn() -> T) -> Arc<T>
    where
        Arc<T>: Into<Series> + for<'a> TryFrom<&'a Series>,
    {
        let Told { name, help, kind, labels } = told;
        let mut families = self.families();
        let family = families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        let labels = written(labels);
        if let Some(found) = family.series.get(&labels).and_then(|found| found.try_into().ok()) {
            return found;
        }
        let series = Arc::new(new());
        family.series.insert(labels, series.clone().into());
        series
    }

    /// The counter of that name and those labels, made if it is not there. Keep it: a look-up locks and allocates.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Arc<Counter> {
        self.series(Told { name, help, kind: "counter", labels }, Counter::default)
    }

    /// The gauge of that name and those labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Arc<Gauge> {
        self.series(Told { name, help, kind: "gauge", labels }, Gauge::default)
    }

    /// The histogram of that name and those labels. `bounds` are the upper ends of its buckets, rising.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: Labels<'_>,
    ) -> Arc<Histogram> {
        self.series(Told { name, help, kind: "histogram", labels }, || Histogram::new(bounds))
    }

    /// Takes away a gauge that no longer says anything, for instance of a file that is gone.
    pub fn forget(&self, name: &str, labels: Labels<'_>) {
        if let Some(family) = self.families().get_mut(name) {
            family.series.remove(&written(labels));
        }
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        for (name, family) in self.families().iter().filter(|(_, family)| !family.series.is_empty()) {
            let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind);
            for (labels, series) in &family.series {
                let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = match series {
                    Series::Counter(counter) => writeln!(page, "{name}{braced} {}", counter.get()),
                    Series::Gauge(gauge) => writeln!(page, "{name}{braced} {}", gauge.get()),
                    Series::Histogram(histogram) => write_histogram(&mut page, name, labels, &braced, histogram),
                };
            }
        }
        page
    }
}

fn write_histogram(page: &mut String, name: &str, labels: &str, braced: &str, of: &Histogram) -> std::fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (n, bound) in of.bounds.iter().enumerate() {
        below += of.bucket(n);
        writeln!(page, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}")?;
    }
    below += of.bucket(of.bounds.len());
    writeln!(page, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}")?;
    writeln!(page, "{name}_sum{braced} {}\n{name}_count{braced} {below}", of.sum())
}

/// Labels as the page writes them, in the order of their names.
fn written(labels: Labels<'_>) -> String {
    let mut sorted: Vec<_> = labels.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for (name, value) in sorted {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}
