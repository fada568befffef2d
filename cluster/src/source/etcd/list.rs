//! Listing: page by page, all at the revision of the first page.

use etcd_client::GetOptions;

use super::past::{From, Mark};
use super::{Follower, OBJECTS, answer};
use crate::etcd::{Connection, Error, ErrorKind, MAX_MESSAGE};

/// How many objects the first page has, and any page at most.
const FIRST_PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 1000;

/// How large pages should be, in bytes; a page is in memory at once.
const PAGE_SIZE: usize = 1 << 20;

impl Follower<'_> {
    /// Lists everything, and says where to watch from.
    pub(super) async fn list(&mut self, connection: &mut Connection) -> Result<From, Error> {
        let mut from = self.location.keys().objects().into_bytes();
        let mut end = from.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let mut client = connection.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let (mut revision, mut limit) = (0, FIRST_PAGE);
        let mut newest: Option<Mark> = None;
        self.mirror.begin(OBJECTS);
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(limit).with_revision(revision);
            let page = match answer(connection, client.get(from.clone(), Some(options))).await {
                Err(error) if error.kind == ErrorKind::TooLarge && limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                result => result?,
            };
            if revision == 0 {
                let header = page.header();
                revision = header.map_or(connection.revision, etcd_client::ResponseHeader::revision);
                self.past.listing(connection.cluster_id, revision);
            }
            for kv in page.kvs() {
                if newest.as_ref().is_none_or(|newest| newest.revision < kv.mod_revision()) {
                    newest = Some(Mark::put(kv));
                }
                self.put(kv);
            }
            let Some(last) = page.kvs().last().filter(|_| page.more()) else { break };
            from = [last.key(), b"\0"].concat();
            let size: usize = page.kvs().iter().map(|kv| kv.value().len()).sum();
            let average = size / page.kvs().len() + 1;
            limit = i64::try_from(PAGE_SIZE / average).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
        }
        self.past.listed(newest);
        self.works();
        self.mirror.end(OBJECTS);
        let objects = self.mirror.count(OBJECTS);
        tracing::info!(source = %self.location, endpoint = connection.endpoint, revision, objects, "read etcd");
        Ok(From::after(revision))
    }
}
