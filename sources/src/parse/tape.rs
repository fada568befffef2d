//! A document as it was written, before anyone asks what it means: one flat list of its parts.
//!
//! All readers (plain YAML, any YAML, JSON) write it, one reader of objects reads it. A part knows where
//! it ends, so what nobody wants is stepped over at once; text is borrowed from the document.

use std::borrow::Cow;

/// What stands at one place of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is no `i64`; no field of ours takes one.
    Number,
    Text(Cow<'a, str>),
    /// Its keys (each a `Text`) and values follow in turn.
    Map,
    Seq,
}

impl Value<'_> {
    /// A number with a fraction or an exponent. One that is whole is an integer, as what turns YAML into JSON for kubectl
    /// has it: `80.0` is 80.
    pub(crate) fn float(number: f64) -> Self {
        whole(number).map_or(Value::Number, Value::Int)
    }
}

/// The integer that a number is; only as far as a float tells one from the next.
pub(crate) fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.trunc() == number && number.abs() < EXACT).then_some(number as i64)
}

#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) value: Value<'a>,
    /// Index of the first part behind this one and all within it.
    end: u32,
    /// Lines from the start of the document; 0 where the reader can't tell.
    line: u32,
}

/// One document.
#[derive(Debug, Default)]
pub(crate) struct Tape<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Tape<'a> {
    /// Room for a document of so many bytes.
    pub(crate) fn with_room_for(bytes: usize) -> Tape<'a> {
        // Documents of machines have some 20 bytes a part; a guess too low only costs a copy.
        Tape { parts: Vec::with_capacity((bytes / 16).clamp(8, 1 << 16)) }
    }

    /// Adds a part; for a map or sequence, call [`Tape::close`] once what is in it has been added.
    pub(crate) fn push(&mut self, value: Value<'a>, line: u32) -> usize {
        let at = self.parts.len();
        self.parts.push(Part { value, end: at as u32 + 1, line });
        at
    }

    pub(crate) fn close(&mut self, at: usize) {
        let end = self.parts.len() as u32;
        if let Some(part) = self.parts.get_mut(at) {
            part.end = end;
        }
    }

    /// The whole of it; None where nothing was added.
    pub(crate) fn root(&self) -> Option<Node<'_, 'a>> {
        Node::at(self, 0)
    }

    /// What each part is, without lines: to compare readers by.
    #[cfg(test)]
    pub(crate) fn shape(&self) -> Vec<(Value<'a>, u32)> {
        self.parts.iter().map(|part| (part.value.clone(), part.end)).collect()
    }
}

/// One place of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'t, 'a> {
    tape: &'t Tape<'a>,
    part: &'t Part<'a>,
    index: usize,
}

impl<'t, 'a> Node<'t, 'a> {
    fn at(tape: &'t Tape<'a>, index: usize) -> Option<Node<'t, 'a>> {
        tape.parts.get(index).map(|part| Node { tape, part, index })
    }

    pub(crate) fn value(self) -> &'t Value<'a> {
        &self.part.value
    }

    pub(crate) fn line(self) -> u32 {
        self.part.line
    }

    /// What is in it, in order: of a map, keys and values in turn.
    fn within(self) -> impl Iterator<Item = Node<'t, 'a>> {
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let node = Node::at(self.tape, next).filter(|_| next < self.part.end as usize)?;
            next = node.part.end as usize;
            Some(node)
        })
    }

    /// The entries of a map; nothing for what isn't one.
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'t str, Node<'t, 'a>)> {
        let mut within = self.within();
        let is_map = *self.value() == Value::Map;
        std::iter::from_fn(move || {
            let (key, value) = (within.next().filter(|_| is_map)?, within.next()?);
            match key.value() {
                Value::Text(key) => Some((&**key, value)),
                _ => None,
            }
        })
    }

    /// The elements of a sequence; nothing for what isn't one.
    pub(crate) fn elements(self) -> impl Iterator<Item = Node<'t, 'a>> {
        let is_seq = *self.value() == Value::Seq;
        self.within().take_while(move |_| is_seq)
    }
}
