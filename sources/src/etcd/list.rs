//! Listing: page by page, all at the revision of the first page.

use super::past::{From, Mark};
use super::{Follower, OBJECTS, answer};
use bowline_etcd::{Connection, ErrorKind, EtcdError, MAX_MESSAGE, Pages};

impl Follower<'_> {
    /// Lists everything, and says where to watch from.
    pub(super) async fn list(&mut self, connection: &mut Connection) -> Result<From, EtcdError> {
        let mut pages = Pages::below(&self.location.keys().objects(), false);
        let mut client = connection.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let mut newest: Option<Mark> = None;
        self.mirror.begin(OBJECTS);
        while let Some((from, options)) = pages.next() {
            let page = match answer(connection, client.get(from, Some(options))).await {
                Err(error) if error.kind == ErrorKind::TooLarge && pages.shrink() => continue,
                result => result?,
            };
            if pages.revision() == 0 {
                let revision = page.header().map_or(connection.revision, etcd_client::ResponseHeader::revision);
                self.past.listing(connection.cluster_id, revision);
            }
            pages.read(&page);
            for kv in page.kvs() {
                if newest.as_ref().is_none_or(|newest| newest.revision < kv.mod_revision()) {
                    newest = Some(Mark::put(kv));
                }
                self.put(kv);
            }
        }
        let revision = pages.revision();
        self.past.listed(newest);
        self.works();
        self.mirror.end(OBJECTS);
        let objects = self.mirror.count(OBJECTS);
        tracing::info!(source = %self.location, endpoint = connection.endpoint, revision, objects, "read etcd");
        Ok(From::after(revision))
    }
}
