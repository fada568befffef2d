//! A name in front of its zone, taken apart.

use super::options::{Options, Zone};

/// Where each label of a name begins, from the right; only the last ones are kept.
pub(super) struct Split<'a> {
    front: &'a [u8],
    /// `at[0]` is the start of the last label.
    at: [usize; LABELS],
    pub(super) count: usize,
}

/// No name that exists depends on where more labels than this begin, from the right: the zone in a name's front is
/// taken as a whole.
const LABELS: usize = 6;

impl<'a> Split<'a> {
    pub(super) fn new(front: &'a [u8]) -> Split<'a> {
        let (mut at, mut count, mut here) = ([0; LABELS], 0, 0);
        while let Some(length) = front.get(here) {
            at.rotate_right(1);
            at[0] = here;
            count += 1;
            here += 1 + usize::from(*length);
        }
        Split { front, at, count }
    }

    /// The label at this place from the right, from 0; empty where there is none.
    pub(super) fn label(&self, place: usize) -> &'a [u8] {
        let tail = self.from(place);
        match tail.split_first() {
            Some((length, rest)) => rest.get(..usize::from(*length)).unwrap_or_default(),
            None => &[],
        }
    }

    /// What begins at the label of this place.
    pub(super) fn from(&self, place: usize) -> &'a [u8] {
        let at = self.at.get(place).filter(|_| place < self.count);
        at.and_then(|at| self.front.get(*at..)).unwrap_or_default()
    }

    /// What stands in front of the label of this place.
    pub(super) fn before(&self, place: usize) -> &'a [u8] {
        let at = self.at.get(place).filter(|_| place < self.count);
        at.and_then(|at| self.front.get(..*at)).unwrap_or_default()
    }
}

/// A label of a port or protocol without the "_" in front.
pub(super) fn stripped(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

/// What a name asks for, whether or not it is there: what `metadata` tells of it. In lower case; empty where the name
/// says nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// `svc` or `pod`.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The Service, or the Pod's address.
    pub service: String,
    /// The endpoint.
    pub endpoint: String,
    /// The cluster of the endpoint.
    pub cluster: String,
    /// The port's name, without "_".
    pub port: String,
    /// The protocol, without "_".
    pub protocol: String,
    /// The topology zone.
    pub zone: String,
}

/// A name that has another form than names of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid query name")]
pub struct PartsError;

impl Parts {
    /// Takes the labels in front of a zone apart, which are in wire form and in lower case.
    ///
    /// # Errors
    /// No name of the cluster has this form.
    pub fn read(front: &[u8], zone: &Zone, options: &Options) -> Result<Parts, PartsError> {
        let labels = Split::new(front);
        let text = |label: &[u8]| String::from_utf8_lossy(label).into_owned();
        let mut parts = Parts::default();
        // The name of the zone itself, and of what hangs from it.
        if labels.count == 0 || matches!(front, b"\x03svc" | b"\x03pod") {
            return Ok(parts);
        }
        parts.kind = text(labels.label(0));
        if !matches!(&*parts.kind, "svc" | "pod") {
            return Err(PartsError);
        }
        parts.namespace = text(labels.label(1));
        parts.service = text(labels.label(2));
        match labels.count {
            ..=3 => {}
            4 => parts.endpoint = text(labels.label(3)),
            5 => {
                let (first, second) = (labels.label(4), labels.label(3));
                if zone.is_multicluster && !first.starts_with(b"_") && !second.starts_with(b"_") {
                    (parts.endpoint, parts.cluster) = (text(first), text(second));
                } else {
                    (parts.port, parts.protocol) = (text(stripped(first)), text(stripped(second)));
                }
            }
            _ => {
                let is_zonal = options.zonal && !zone.is_multicluster && parts.kind == "svc";
                if !is_zonal || labels.label(3) != b"_zone" || !matches!(labels.label(4), b"pin" | b"prefer") {
                    return Err(PartsError);
                }
                let mut rest = labels.before(4);
                while let Some((length, tail)) = rest.split_first() {
                    let (label, tail) = tail.split_at_checked(usize::from(*length)).unwrap_or_default();
                    let dot = if parts.zone.is_empty() { "" } else { "." };
                    parts.zone.extend([dot, &text(label)]);
                    rest = tail;
                }
            }
        }
        Ok(parts)
    }
}
