//! The one transaction by which an object and its claims change together.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::claims::Holder;
use super::{Claim, Refusal, Store, StoreError};
use bowline_etcd::{ErrorKind, Pages};

/// How much etcd takes in a transaction, as it comes: compares, operations and reads, each for itself.
const MAX_OPERATIONS: usize = 128;

/// A key as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Got {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) mod_revision: i64,
    pub(super) lease: i64,
}

/// What the reads of a transaction have found, each in order.
pub(super) fn lists(answer: &TxnResponse) -> Vec<Vec<Got>> {
    let list = |response: TxnOpResponse| match response {
        TxnOpResponse::Get(mut get) => {
            let got = |kv: etcd_client::KeyValue| Got {
                mod_revision: kv.mod_revision(),
                lease: kv.lease(),
                key: String::from_utf8_lossy(kv.key()).into_owned(),
                value: kv.value().to_vec(),
            };
            Some(get.take_kvs().into_iter().map(got).collect())
        }
        _ => None,
    };
    answer.op_responses().into_iter().filter_map(list).collect()
}

/// The same, of reads of one key each.
pub(super) fn values(answer: &TxnResponse) -> Vec<Option<Got>> {
    lists(answer).into_iter().map(|list| list.into_iter().next()).collect()
}

/// A claim whose holder doesn't have it any more, as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Abandoned {
    pub(super) revision: i64,
    /// The holder's key, and its revision: 0 where it isn't there.
    pub(super) holder: Option<(String, i64)>,
}

/// A change of one object.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) key: &'a str,
    /// As it was read; 0 where it wasn't there.
    pub(super) revision: i64,
    /// What it is to be; None to delete it.
    pub(super) value: Option<String>,
    pub(super) holder: &'a Holder,
    pub(super) held: &'a BTreeSet<Claim>,
    pub(super) wanted: &'a BTreeSet<Claim>,
    pub(super) abandoned: &'a BTreeMap<Claim, Abandoned>,
    /// Nothing is written: only whether it could be.
    pub(super) dry: bool,
    /// Nothing below this prefix may have changed since this revision.
    pub(super) guard: Option<(String, i64)>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// It is done, at this revision.
    Yes(i64),
    /// The object is another than what was read, or the guarded keys are.
    Changed,
    /// These are somebody's.
    Taken(Vec<(Claim, Holder, i64)>),
}

impl Store {
    /// Makes a change. Also whether it may have been made by a try that got no answer.
    pub(super) async fn commit(&self, change: &Change<'_>) -> Result<(Done, bool), StoreError> {
        let keys = self.keys();
        let new: Vec<Claim> = change.wanted.difference(change.held).copied().collect();
        let ours = change.holder.text();
        let mut compares = vec![Compare::mod_revision(change.key, CompareOp::Equal, change.revision)];
        let mut operations = match &change.value {
            Some(value) => vec![TxnOp::put(change.key, value.clone(), None)],
            None => vec![TxnOp::delete(change.key, None)],
        };
        let mut reads = vec![TxnOp::get(change.key, None)];
        // A key is compared once: two claims may be each other's rivals.
        let mut looked_at = Vec::new();
        for (claim, own) in new.iter().flat_map(|claim| [(Some(*claim), true), (claim.rival(), false)]) {
            let Some(claim) = claim.filter(|claim| own || !change.held.contains(claim)) else { continue };
            let key = claim.key(keys);
            match change.abandoned.get(&claim) {
                None => compares.push(Compare::version(key.clone(), CompareOp::Equal, 0)),
                Some(abandoned) => {
                    compares.push(Compare::mod_revision(key.clone(), CompareOp::Equal, abandoned.revision));
                    if let Some((holder, revision)) = &abandoned.holder {
                        compares.push(Compare::mod_revision(holder.clone(), CompareOp::Equal, *revision));
                    }
                    if !own {
                        operations.push(TxnOp::delete(key.clone(), None));
                    }
                }
            }
            if own {
                operations.push(TxnOp::put(key.clone(), ours.clone(), None));
            }
            reads.push(TxnOp::get(key, None));
            looked_at.push(claim);
        }
        for claim in change.wanted.intersection(change.held) {
            // What was put past us has no claims yet.
            let key = claim.key(keys);
            let missing = [Compare::version(key.clone(), CompareOp::Equal, 0)];
            operations.push(TxnOp::txn(Txn::new().when(missing).and_then([TxnOp::put(key, ours.clone(), None)])));
        }
        for claim in change.held.difference(change.wanted) {
            let key = claim.key(keys);
            let is_ours = [Compare::value(key.clone(), CompareOp::Equal, ours.clone())];
            operations.push(TxnOp::txn(Txn::new().when(is_ours).and_then([TxnOp::delete(key, None)])));
        }
        if let Some((prefix, revision)) = &change.guard {
            compares.push(Compare::mod_revision(prefix.clone(), CompareOp::Less, revision + 1).with_prefix());
        }
        // A node port is compared twice, as its rival is; and what can be stored can be deleted.
        if compares.len().max(operations.len()).max(reads.len()) > MAX_OPERATIONS {
            let message = "has more addresses and node ports than etcd changes at once; make several objects of it";
            return Err(StoreError::Refused(vec![Refusal::new("", message)]));
        }
        if change.dry {
            operations.clear();
        }
        let txn = Txn::new().when(compares).and_then(operations).or_else(reads);
        let (answer, again) = self
            .call(|client| {
                let txn = txn.clone();
                async move { super::kv(&client).txn(txn).await }
            })
            .await?;
        if answer.succeeded() {
            return Ok((Done::Yes(answer.header().map_or(0, etcd_client::ResponseHeader::revision)), again));
        }
        let mut found = values(&answer).into_iter();
        let object = found.next().flatten().unwrap_or_default();
        if object.mod_revision != change.revision {
            return Ok((Done::Changed, again));
        }
        let taken = looked_at.into_iter().zip(found).filter_map(|(claim, got)| {
            let got = got?;
            let holder = serde_json::from_slice(&got.value).unwrap_or_default();
            let seen = change.abandoned.get(&claim).is_some_and(|abandoned| abandoned.revision == got.mod_revision);
            (!seen).then_some((claim, holder, got.mod_revision))
        });
        let taken: Vec<_> = taken.collect();
        // None: what was abandoned has changed since, or what is guarded.
        Ok((if taken.is_empty() { Done::Changed } else { Done::Taken(taken) }, again))
    }

    /// Everything below a prefix, and the revision at which it was so.
    pub(super) async fn below(&self, prefix: &str, keys_only: bool) -> Result<(Vec<Got>, i64), StoreError> {
        let (mut found, mut pages) = (Vec::new(), Pages::below(prefix, keys_only));
        while let Some((from, options)) = pages.next() {
            let answer = self.call(|client| {
                let (from, options) = (from.clone(), options.clone());
                async move { super::kv(&client).get(from, Some(options)).await }
            });
            let mut page = match answer.await {
                Err(StoreError::Etcd(error)) if error.kind == ErrorKind::TooLarge && pages.shrink() => continue,
                result => result?.0,
            };
            pages.read(&page);
            for kv in page.take_kvs() {
                let (mod_revision, lease) = (kv.mod_revision(), kv.lease());
                let (key, value) = kv.into_key_value();
                let key = String::from_utf8_lossy(&key).into_owned();
                found.push(Got { key, value, mod_revision, lease });
            }
        }
        Ok((found, pages.revision()))
    }
}
