//! Reads a file piece by piece: a window of it in memory, the pieces on several threads.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::split::{Format, Piece, Splitter};
use super::{Envelope, Fault, Found, MAX_FILE, MAX_PIECE};
use bowline_cluster::intern::Strings;

/// How much of a file is cut at a time, in bytes.
pub(crate) const WINDOW: usize = 64 << 10;

/// How to read.
pub(crate) struct Options<'a> {
    /// Refuse what isn't JSON.
    pub(crate) json_only: bool,
    /// On how many threads to parse a file that is bigger than a window.
    pub(crate) threads: usize,
    /// Whether a piece with this hash is known already and need not be parsed.
    pub(crate) known: &'a (dyn Fn(u64) -> bool + Sync),
}

/// One piece of a file.
#[derive(Debug)]
pub(crate) struct ReadPiece {
    /// Of its bytes, and of the list it is in.
    pub(crate) hash: u64,
    /// Line of the file on which it begins, from 0.
    pub(crate) line: u32,
    document: u32,
    /// None for one that is known.
    pub(crate) found: Option<Found>,
}

/// A part of the file, and the pieces in it.
struct Window {
    text: Vec<u8>,
    pieces: Vec<Piece>,
    /// What the lists are that the pieces are in, as far as that is known by now.
    lists: BTreeMap<u32, Envelope>,
    format: Format,
}

/// Reads a file to its end; its pieces in order. An error is one of `input`, or a file beyond the limits.
pub(crate) fn read<R: ReadAgain>(
    input: R,
    options: &Options<'_>,
    hasher: &RandomState,
    strings: &Strings,
) -> io::Result<Vec<ReadPiece>> {
    let mut pass = Pass { options, hasher, strings, format: None, lists: BTreeMap::new() };
    let mut input = input;
    // A second pass is for a list that says at its end what its items are, or JSON that turns out to be
    // YAML; a third for both.
    for _ in 0..3 {
        match pass.run(&mut input)? {
            Outcome::Read(pieces) => return Ok(pieces),
            Outcome::Again => input.again()?,
        }
    }
    Err(io::Error::other("is another file each time it is read; write it whole, then rename it into place"))
}

/// Something that can be read twice.
pub(crate) trait ReadAgain: Read {
    /// Goes back to the start.
    fn again(&mut self) -> io::Result<()>;
}

/// Text in memory.
impl ReadAgain for io::Cursor<&[u8]> {
    fn again(&mut self) -> io::Result<()> {
        self.set_position(0);
        Ok(())
    }
}

impl ReadAgain for &std::fs::File {
    fn again(&mut self) -> io::Result<()> {
        io::Seek::rewind(self)
    }
}

enum Outcome {
    Read(Vec<ReadPiece>),
    Again,
}

struct Pass<'a> {
    options: &'a Options<'a>,
    hasher: &'a RandomState,
    strings: &'a Strings,
    /// None: to be guessed.
    format: Option<Format>,
    /// What the lists are, from the pass before.
    lists: BTreeMap<u32, Envelope>,
}

impl Pass<'_> {
    fn run(&mut self, input: &mut dyn Read) -> io::Result<Outcome> {
        let mut windows = Windows::open(input, self.format, std::mem::take(&mut self.lists))?;
        let format = windows.splitter_format;
        let first = windows.next()?;
        let mut pieces = match first {
            None => Vec::new(),
            Some(window) if windows.finished || self.options.threads < 2 => {
                let mut pieces = self.parse(&window);
                windows.recycle(window);
                while let Some(window) = windows.next()? {
                    pieces.append(&mut self.parse(&window));
                    windows.recycle(window);
                }
                pieces
            }
            Some(window) => self.parse_parallel(window, &mut windows)?,
        };
        let may_be_yaml = format == Format::Json && !self.options.json_only;
        let malformed = |piece: &ReadPiece| piece.found.as_ref().is_some_and(|found| found.malformed);
        if may_be_yaml && (windows.broken.is_some() || pieces.iter().any(malformed)) {
            self.format = Some(Format::Yaml);
            return Ok(Outcome::Again);
        }
        let lists = windows.splitter.lists;
        let needs_list = |piece: &ReadPiece| {
            piece.found.as_ref().is_some_and(|found| found.needs_list)
                && lists.get(&piece.document).is_some_and(|list| !list.kind.is_empty())
        };
        if pieces.iter().any(needs_list) {
            (self.format, self.lists) = (Some(format), lists);
            return Ok(Outcome::Again);
        }
        for piece in &mut pieces {
            if let Some(found) = piece.found.as_mut().filter(|found| found.needs_list) {
                let message = "is in a list that has no kind; write `kind: List` and the kind of each item".to_string();
                found.refuse(Fault { line: 0, object: None, field: None, message }, None);
            }
        }
        if let Some(fault) = windows.broken {
            let line = fault.line;
            let mut found = Found::default();
            found.refuse(Fault { line: 0, ..fault }, None);
            pieces.push(ReadPiece { hash: 0, line, document: 0, found: Some(found) });
        }
        Ok(Outcome::Read(pieces))
    }

    fn parse(&self, window: &Window) -> Vec<ReadPiece> {
        window.pieces.iter().map(|piece| self.parse_piece(window, piece)).collect()
    }

    fn parse_piece(&self, window: &Window, piece: &Piece) -> ReadPiece {
        let text = &window.text[piece.bytes.clone()];
        let list = window.lists.get(&piece.document).filter(|list| piece.item && !list.kind.is_empty());
        let hash = self.hasher.hash_one((text, list.map(|list| (&list.kind, &list.version))));
        let known = (self.options.known)(hash);
        let found = (!known).then(|| super::piece(text, window.format, piece.item, list, self.strings));
        ReadPiece { hash, line: piece.line, document: piece.document, found }
    }

    fn parse_parallel(&self, first: Window, windows: &mut Windows<'_>) -> io::Result<Vec<ReadPiece>> {
        let threads = self.options.threads;
        let (give, take) = sync_channel::<(usize, Window)>(threads);
        let (give_back, take_back) = sync_channel::<Window>(2 * threads + 2);
        let take = Mutex::new(take);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let (take, give_back) = (&take, give_back.clone());
                    scope.spawn(move || self.work(take, &give_back))
                })
                .collect();
            let mut sent = Ok(());
            let mut next = Some(first);
            for number in 0.. {
                let Some(window) = next else { break };
                if give.send((number, window)).is_err() {
                    break;
                }
                if let Ok(window) = take_back.try_recv() {
                    windows.recycle(window);
                }
                next = match windows.next() {
                    Ok(window) => window,
                    Err(error) => {
                        sent = Err(error);
                        None
                    }
                };
            }
            drop(give);
            let mut parts = Vec::new();
            for worker in workers {
                parts.append(&mut worker.join().map_err(|_| io::Error::other("a parser ended early"))?);
            }
            sent?;
            parts.sort_by_key(|(number, _)| *number);
            let mut pieces = Vec::with_capacity(parts.iter().map(|(_, pieces)| pieces.len()).sum());
            parts.into_iter().for_each(|(_, mut part)| pieces.append(&mut part));
            Ok(pieces)
        })
    }

    fn work(
        &self,
        take: &Mutex<Receiver<(usize, Window)>>,
        give_back: &SyncSender<Window>,
    ) -> Vec<(usize, Vec<ReadPiece>)> {
        let mut done = Vec::new();
        loop {
            let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, window)) = next else { return done };
            done.push((number, self.parse(&window)));
            // Only to use its memory again; where there is enough, it goes.
            let _ = give_back.try_send(window);
        }
    }
}

/// A file, window by window.
struct Windows<'i> {
    input: &'i mut dyn Read,
    splitter: Splitter,
    splitter_format: Format,
    /// What was read and not yet cut.
    rest: Vec<u8>,
    spare: Vec<Vec<u8>>,
    known_lists: BTreeMap<u32, Envelope>,
    total: usize,
    finished: bool,
    /// Why nothing more can be cut.
    broken: Option<Fault>,
}

impl<'i> Windows<'i> {
    fn open(input: &'i mut dyn Read, format: Option<Format>, lists: BTreeMap<u32, Envelope>) -> io::Result<Self> {
        let mut rest = Vec::new();
        let finished = fill(input, &mut rest, 4096)?;
        if rest.starts_with(b"\xef\xbb\xbf") {
            rest.drain(..3);
        }
        let format = format.unwrap_or_else(|| Format::of(&rest));
        Ok(Windows {
            input,
            splitter: Splitter::new(format),
            splitter_format: format,
            total: rest.len(),
            rest,
            spare: Vec::new(),
            known_lists: lists,
            finished,
            broken: None,
        })
    }

    fn recycle(&mut self, window: Window) {
        self.spare.push(window.text);
    }

    /// The next window with a piece in it.
    fn next(&mut self) -> io::Result<Option<Window>> {
        let mut want = WINDOW;
        loop {
            if self.broken.is_some() || (self.finished && self.rest.is_empty()) {
                return Ok(None);
            }
            if !self.finished && self.rest.len() < want {
                let before = self.rest.len();
                self.finished = fill(self.input, &mut self.rest, want - before)?;
                self.total += self.rest.len() - before;
                if self.total > MAX_FILE {
                    return Err(io::Error::other("is bigger than 256 MiB; write it as several files"));
                }
            }
            let mut pieces = Vec::new();
            let done = match self.splitter.split(&self.rest, self.finished, &mut pieces) {
                Ok(done) => done,
                Err(fault) => {
                    self.broken = Some(fault);
                    self.rest.len()
                }
            };
            if self.rest.len() - done > MAX_PIECE || pieces.iter().any(|piece| piece.bytes.len() > MAX_PIECE) {
                return Err(io::Error::other(
                    "has a document or an item of more than 16 MiB; write it as several documents",
                ));
            }
            let mut next_rest = self.spare.pop().unwrap_or_default();
            next_rest.clear();
            next_rest.extend_from_slice(&self.rest[done..]);
            let text = std::mem::replace(&mut self.rest, next_rest);
            if pieces.is_empty() {
                // No piece ends in so much: look at more at a time, or the whole of it is looked at
                // again and again.
                self.spare.push(text);
                want = want.max(2 * self.rest.len());
                if self.finished {
                    return Ok(None);
                }
                continue;
            }
            let documents = pieces[0].document..=pieces[pieces.len() - 1].document;
            let known = self.splitter.lists.range(documents.clone()).chain(self.known_lists.range(documents));
            let lists = known.map(|(document, list)| (*document, list.clone())).collect();
            return Ok(Some(Window { text, pieces, lists, format: self.splitter_format }));
        }
    }
}

/// Reads up to `bytes` more; whether the input is at its end.
fn fill(input: &mut dyn Read, text: &mut Vec<u8>, bytes: usize) -> io::Result<bool> {
    let before = text.len();
    text.reserve_exact(bytes);
    input.take(bytes as u64).read_to_end(text)?;
    Ok(text.len() - before < bytes)
}
