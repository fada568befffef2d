//! The labels of a name, from either end.

/// An iterator over a name's labels from the left, without the root's.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// Over labels in wire form, without a root label.
    pub(super) fn new(wire: &'a [u8]) -> Labels<'a> {
        Labels(wire)
    }

    /// The labels not yet given, in wire form without a root label.
    pub fn as_wire(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        Some(label)
    }
}

impl<'a> DoubleEndedIterator for Labels<'a> {
    /// Walks from the left each time: names have few labels, and a list of their offsets would cost more.
    fn next_back(&mut self) -> Option<&'a [u8]> {
        let mut last = 0;
        loop {
            let next = last + 1 + usize::from(*self.0.get(last)?);
            if next >= self.0.len() {
                let (front, label) = self.0.split_at_checked(last)?;
                self.0 = front;
                return label.get(1..);
            }
            last = next;
        }
    }
}
