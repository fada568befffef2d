//! Reads a saved snapshot: in one pass that parses and sums up at once, and gives nothing out before its end.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};
use rustix::fs::OFlags;
use serde::Deserialize;

use super::{FORMAT, Footer, Header, Loaded, hex};
use crate::parse::{self, MAX_FILE, MAX_PIECE};
use bowline_cluster::intern::Strings;
use bowline_cluster::object::Object;
use bowline_cluster::source::{Change, Origin, Problem};
use bowline_cluster::span;

/// What every format has in its first line.
#[derive(Deserialize)]
struct Mark {
    bowline: String,
    format: u64,
}

/// Reads the snapshot that was written of `source`; None where there is no file.
///
/// # Errors
/// A problem where the file can't be read, is bigger than [`MAX_FILE`], is older than `max_age`, of another
/// format or source, not as it was written (cut short, changed), or has an object that is refused.
pub fn read(path: &Path, source: &str, max_age: Duration) -> Result<Option<Loaded>, Problem> {
    let name = path.display().to_string();
    let unreadable = |error: &io::Error| refuse(&name, &format!("can't be read: {error}"));
    // A named pipe would block.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err(refuse(&name, "is no file"));
    }
    if metadata.len() > MAX_FILE as u64 {
        return Err(refuse(&name, "is bigger than 256 MiB, as none is that Bowline writes"));
    }
    let modified = metadata.modified().map_err(|error| unreadable(&error))?;
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    if age > max_age {
        let (age, max_age) = (span::human(age), span::human(max_age));
        return Err(refuse(&name, &format!("is {age} old, and may be no older than {max_age}")));
    }
    let (header, changes) = whole(BufReader::with_capacity(64 << 10, file), &name, source)?;
    Ok(Some(Loaded { changes, age, saved: header.saved }))
}

/// Every problem with it has the same end.
fn refuse(origin: &str, message: &str) -> Problem {
    let message = format!("{message}; this snapshot is not used, and is written anew once the source can be read");
    Problem { origin: Origin::from(origin), object: None, field: None, message }
}

/// Reads a file to its end.
fn whole(input: impl BufRead, name: &str, source: &str) -> Result<(Header, Vec<Change>), Problem> {
    let mut lines = Lines { input: input.take(MAX_FILE as u64), name, number: 0, text: Vec::new() };
    let mut context = Context::new(&SHA256);
    lines.next()?;
    let header = lines.header()?;
    context.update(&lines.text);
    let strings = Strings::default();
    let mut changes = Vec::new();
    // What is wrong with an object is told only once it is known that it was written so.
    let mut refused = None;
    for _ in 0..header.objects {
        lines.next()?;
        context.update(&lines.text);
        if refused.is_some() {
            continue;
        }
        match lines.object(&strings) {
            Ok(Some(object)) => changes.push(Change::Put(object, Origin::from(lines.origin()))),
            Ok(None) => {}
            Err(problem) => {
                refused = Some(problem);
                changes = Vec::new();
            }
        }
    }
    lines.next()?;
    let footer = lines.footer();
    if footer.is_none_or(|footer| footer.sha256 != hex(&context.finish())) {
        return Err(refuse(name, "is not as it was written: its checksum (SHA-256) is another"));
    }
    if lines.more()? {
        return Err(lines.refuse("is not as it was written: there is more behind its checksum"));
    }
    if header.source != source {
        return Err(refuse(name, &format!("is of the source {:?}, not of {source:?}", header.source)));
    }
    refused.map_or(Ok((header, changes)), Err)
}

/// A file, line by line.
struct Lines<'n, R> {
    input: io::Take<R>,
    name: &'n str,
    /// Of the line in `text`, from 1.
    number: u64,
    /// The line with its end.
    text: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// Goes on to the next line, which must be there and whole.
    fn next(&mut self) -> Result<(), Problem> {
        self.text.clear();
        self.number += 1;
        // One byte more than there may be, to tell one that is too long from one that is cut short.
        let mut line = self.input.by_ref().take(MAX_PIECE as u64 + 1);
        line.read_until(b'\n', &mut self.text).map_err(|error| self.refuse(&format!("can't be read: {error}")))?;
        if self.text.len() > MAX_PIECE {
            return Err(self.refuse("has a line of more than 16 MiB, as none is that Bowline writes"));
        }
        if self.text.ends_with(b"\n") { Ok(()) } else { Err(self.refuse("is cut short: it ends here")) }
    }

    /// Whether there is anything behind the line.
    fn more(&mut self) -> Result<bool, Problem> {
        match self.input.fill_buf() {
            Ok(rest) => Ok(!rest.is_empty()),
            Err(error) => Err(self.refuse(&format!("can't be read: {error}"))),
        }
    }

    fn origin(&self) -> String {
        format!("{}:{}", self.name, self.number)
    }

    fn refuse(&self, message: &str) -> Problem {
        refuse(&self.origin(), message)
    }

    fn header(&self) -> Result<Header, Problem> {
        match serde_json::from_slice::<Mark>(&self.text) {
            Ok(mark) if mark.bowline != "snapshot" => return Err(self.refuse("is no snapshot of Bowline's")),
            Ok(mark) if mark.format != u64::from(FORMAT) => {
                let message = format!("has the format {}; this Bowline reads {FORMAT}", mark.format);
                return Err(self.refuse(&message));
            }
            Ok(_) => {}
            Err(_) => return Err(self.refuse("does not begin as a snapshot of Bowline's")),
        }
        serde_json::from_slice(&self.text).map_err(|error| self.refuse(&format!("has a header that is wrong: {error}")))
    }

    fn footer(&self) -> Option<Footer> {
        serde_json::from_slice(&self.text).ok()
    }

    /// The object of the line; None for one of a kind that is not read, which a newer Bowline may have written.
    fn object(&self, strings: &Strings) -> Result<Option<Object>, Problem> {
        let mut found = parse::sent(&self.text, None, strings).found;
        if let Some(fault) = found.faults().first() {
            let mut problem = fault.problem_at(Origin::from(self.origin()));
            problem.message = refuse("", &problem.message).message;
            return Err(problem);
        }
        let count = found.objects.len() + found.others as usize;
        if count != 1 {
            return Err(self.refuse(&format!("has {count} objects on one line, where one belongs")));
        }
        Ok(found.objects.pop())
    }
}

/// What the fuzzers call: any bytes as a file, as the objects of a file that is whole, and as a manifest
/// whose objects are saved.
///
/// # Panics
/// Never, or there is a defect: what it checks is that what was saved is what is read.
#[doc(hidden)]
pub fn fuzz(text: &[u8]) {
    const SOURCE: &str = "files:fuzz";
    let read = |file: &[u8]| whole(file, "fuzz", SOURCE).map(|(_, changes)| changes);
    let objects = |changes: Vec<Change>| -> Vec<Object> {
        let put = |change| if let Change::Put(object, _) = change { Some(object) } else { None };
        changes.into_iter().filter_map(put).collect()
    };
    let saved = |objects: &[Object]| {
        let mut file = Vec::new();
        let header = super::header(SOURCE, objects.len() as u64);
        super::write_to(&mut file, &header, objects.iter().cloned()).map(|_| file)
    };
    let _ = read(text);
    let mut given = parse::manifest("fuzz.yaml", text, &Strings::default()).objects;
    given.extend(read(&sealed(text, SOURCE)).map(objects).unwrap_or_default());
    // Too big is the one thing that is refused here.
    if let Ok(file) = saved(&given) {
        assert_eq!(read(&file).map(objects), Ok(given), "what was saved is not what is read");
    }
}

/// A whole file around these lines, whatever they are.
fn sealed(lines: &[u8], source: &str) -> Vec<u8> {
    let end: &[u8] = if lines.ends_with(b"\n") || lines.is_empty() { b"" } else { b"\n" };
    let count = lines.iter().filter(|byte| **byte == b'\n').count() + end.len();
    let mut file = serde_json::to_vec(&super::header(source, count as u64)).unwrap_or_default();
    file.push(b'\n');
    file.extend_from_slice(lines);
    file.extend_from_slice(end);
    let footer = Footer { sha256: hex(&ring::digest::digest(&SHA256, &file)) };
    file.extend(serde_json::to_vec(&footer).unwrap_or_default());
    file.push(b'\n');
    file
}
