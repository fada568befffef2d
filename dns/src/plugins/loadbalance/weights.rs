//! The weight file of `loadbalance weighted`: names, each followed by its addresses and their weights.
//!
//! ```text
//! # comment
//! www.example.com
//! 100.64.1.1 3
//! 100.64.1.2 1
//! ```

use crate::corefile::SetupError;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bowline_cluster::span::exact;

use super::{part, place};
use crate::wire::{Name, Record, Type};

/// How often the file is looked at, where the Corefile doesn't say.
pub(super) const RELOAD: Duration = Duration::from_secs(30);

type ByName = HashMap<Name, Vec<(IpAddr, u8)>>;

/// The weights as they are in the file, or were when it could be read last.
pub(super) struct Weights {
    path: PathBuf,
    current: ArcSwap<Read>,
}

#[derive(Default, PartialEq, Eq)]
struct Read {
    text: String,
    names: ByName,
}

impl Weights {
    /// Reads the file. One that can't be opened is no error where it is looked at again.
    pub(super) fn read(path: PathBuf, reload: Duration) -> Result<Weights, SetupError> {
        let read = match load(&path) {
            Ok(read) => read,
            Err(WeightsError::Open(error)) if !reload.is_zero() => {
                let path = path.display();
                tracing::warn!("plugin/loadbalance: {path} can't be read ({error}); trying again in {}", exact(reload));
                Read::default()
            }
            Err(unread) => return Err(unread.tell(&path).into()),
        };
        Ok(Weights { path, current: ArcSwap::from_pointee(read) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again if it has changed. What can't be read leaves the weights as they are.
    fn look(&self) {
        match load(&self.path) {
            Ok(read) if read.text == self.current.load().text => {}
            Ok(read) => {
                self.current.store(Arc::new(read));
                tracing::info!("plugin/loadbalance: the weights were read again from {}", self.path.display());
            }
            Err(unread) => tracing::error!("plugin/loadbalance: {}", unread.tell(&self.path)),
        }
    }

    /// Sorts the records, and puts one address in front of the others, chosen by weight.
    pub(super) fn put_first(&self, records: &mut [Record]) {
        if !records.iter().any(|record| matches!(record.rtype, Type::A | Type::AAAA)) {
            return;
        }
        records.sort_by_key(|record| place(record.rtype));
        let addresses = part(records, place(Type::A));
        let current = self.current.load();
        let weight = |record: &Record| {
            let ip = record.data.to_ip(record.rtype);
            let known = current.names.get(&record.name).into_iter().flatten();
            // An address that the file doesn't name has the weight 1.
            known.filter(|(known, _)| Some(*known) == ip).map(|(_, weight)| u64::from(*weight)).next().unwrap_or(1)
        };
        let sum: u64 = addresses.iter().map(weight).sum();
        let mut drawn = fastrand::u64(..sum.max(1));
        for n in 0..addresses.len() {
            let weight = weight(&addresses[n]);
            if drawn < weight {
                return addresses.swap(0, n);
            }
            drawn -= weight;
        }
    }
}

/// Looks at the file for changes.
pub(super) async fn keep(weights: Arc<Weights>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        weights.look();
    }
}

enum WeightsError {
    Open(io::Error),
    Line(usize, String),
}

impl WeightsError {
    fn tell(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            WeightsError::Open(error) => format!("the weight file {path} can't be read: {error}"),
            WeightsError::Line(line, message) => format!("the weight file {path}, line {line}: {message}"),
        }
    }
}

fn load(path: &Path) -> Result<Read, WeightsError> {
    let text = std::fs::read_to_string(path).map_err(WeightsError::Open)?;
    let names = parse(&text).map_err(|(line, message)| WeightsError::Line(line, message))?;
    Ok(Read { text, names })
}

/// Reads the text; an error has the number of its line.
fn parse(text: &str) -> Result<ByName, (usize, String)> {
    let mut names = ByName::new();
    let mut name = None;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |message: String| (n + 1, message);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [word] if word.parse::<IpAddr>().is_ok() => {
                return Err(wrong(format!("the address {word} has no weight; write it as {word} 1")));
            }
            [word] => {
                let read = Name::parse(word).map_err(|error| wrong(format!("{word:?} is no name: {error}")))?;
                names.entry(read.clone()).or_default();
                name = Some(read);
            }
            [ip, weight] => {
                let ip = ip.parse().map_err(|_| wrong(format!("{ip:?} is no IP address")))?;
                let weight = weight.parse().ok().filter(|weight| *weight > 0);
                let weight = weight.ok_or_else(|| wrong("the weight must be a number from 1 to 255".to_owned()))?;
                let name = name.clone().ok_or_else(|| wrong("addresses need a name in a line above".to_owned()))?;
                names.entry(name).or_default().push((ip, weight));
            }
            _ => return Err(wrong("has too many words: write a name, or an address and its weight".to_owned())),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
