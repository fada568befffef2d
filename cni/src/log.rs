//! What is attached, on disk: a log of lines that a kill or a loss of power can't take anything from but what was not yet
//! answered.
//!
//! ```text
//! CRC32 {"held": attachment}    an ADD, before anything is made     on the disk before it is answered
//! CRC32 {"going": key}          a DEL: what it has is taken away
//! CRC32 {"gone": key}           nothing of it is left
//! ```
//! A line counts if its checksum is right; others are skipped, and told. At start the log is written anew, with what still
//! holds: into another file, which then takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attachment::{Attachment, Key};

/// Lines that are not needed any more, before the log is written anew: a few hundred bytes each.
const SPARE: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Held(Box<Attachment>),
    Going(Key),
    Gone(Key),
}

/// How far an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was added.
    Held,
    /// It is being taken away.
    Going,
}

/// What a log has.
pub(crate) type Attached = BTreeMap<Key, (Attachment, Stage)>;

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes that are whole lines.
    length: u64,
    lines: usize,
}

/// A line that a kill can't take away any more, and a loss of power can.
#[must_use]
#[derive(Debug)]
pub(crate) struct Written(Arc<File>);

impl Written {
    /// It is on the disk when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Log {
    /// Opens a log, or makes it, with its folder. Gives what it has, and what of it could not be read.
    ///
    /// # Errors
    /// The folder or the file can't be used.
    pub(crate) fn open(path: &Path) -> io::Result<(Log, Attached, Vec<String>)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        let (attached, damaged) = read(path, &bytes);
        let log = Log::write(path, &attached)?;
        Ok((log, attached, damaged))
    }

    /// A new file with this, in the place of the one that is there.
    fn write(path: &Path, attached: &Attached) -> io::Result<Log> {
        let mut text = Vec::new();
        let mut lines = 0;
        for (key, (attachment, stage)) in attached {
            text.extend(line(&Line::Held(Box::new(attachment.clone())))?);
            lines += 1;
            if *stage == Stage::Going {
                text.extend(line(&Line::Going(key.clone()))?);
                lines += 1;
            }
        }
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&new, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file = Arc::new(OpenOptions::new().append(true).open(path)?);
        Ok(Log { path: path.to_owned(), file, length: text.len() as u64, lines })
    }

    /// Notes an attachment.
    ///
    /// # Errors
    /// The disk's. Then the log is as before.
    pub(crate) fn held(&mut self, attachment: &Attachment) -> io::Result<Written> {
        self.append(&Line::Held(Box::new(attachment.clone())))?;
        Ok(Written(self.file.clone()))
    }

    /// Notes that an attachment is being taken away. What a loss of power forgets of it is away by then anyway.
    ///
    /// # Errors
    /// As of [`Log::held`].
    pub(crate) fn going(&mut self, key: &Key) -> io::Result<()> {
        self.append(&Line::Going(key.clone()))
    }

    /// Notes that nothing is left of an attachment. `attached` is what then holds.
    ///
    /// # Errors
    /// As of [`Log::held`].
    pub(crate) fn gone(&mut self, key: &Key, attached: &Attached) -> io::Result<()> {
        self.append(&Line::Gone(key.clone()))?;
        if self.lines > SPARE + 2 * attached.len() {
            *self = Log::write(&self.path, attached)?;
        }
        Ok(())
    }

    fn append(&mut self, what: &Line) -> io::Result<()> {
        let text = line(what)?;
        let mut file = &*self.file;
        if let Err(error) = file.write_all(&text) {
            // A full disk may have taken a part of it. What could not be taken back is one damaged line.
            if file.set_len(self.length).is_err() {
                let _ = file.write_all(b"\n");
            }
            return Err(error);
        }
        self.length += text.len() as u64;
        self.lines += 1;
        Ok(())
    }
}

/// What a log has, read beside an agent that writes it.
///
/// # Errors
/// It isn't there, or can't be read.
pub(crate) fn peek(path: &Path) -> io::Result<Attached> {
    Ok(read(path, &fs::read(path)?).0)
}

fn line(what: &Line) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string(what)?;
    Ok(format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes())
}

fn read(path: &Path, bytes: &[u8]) -> (Attached, Vec<String>) {
    let (mut attached, mut damaged) = (Attached::new(), Vec::new());
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        match parse(line) {
            Ok(Line::Held(attachment)) => {
                attached.insert(attachment.key.clone(), (*attachment, Stage::Held));
            }
            Ok(Line::Going(key)) => {
                if let Some((_, stage)) = attached.get_mut(&key) {
                    *stage = Stage::Going;
                }
            }
            Ok(Line::Gone(key)) => drop(attached.remove(&key)),
            Err(why) => damaged.push(format!("{}:{}: {why}", path.display(), number + 1)),
        }
    }
    (attached, damaged)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let sum = line.get(..8).and_then(|sum| u32::from_str_radix(str::from_utf8(sum).ok()?, 16).ok());
    let (Some(sum), Some(text)) = (sum, line.get(9..)) else {
        return Err("no line of this log".into());
    };
    if crc32fast::hash(text) != sum {
        return Err("its checksum is wrong".into());
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
