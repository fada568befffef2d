//! Keys read page by page, all at the revision of the first page: no answer is larger than what is taken, however
//! many keys there are.

use etcd_client::{GetOptions, GetResponse, ResponseHeader};

/// How many keys the first page has, of which nothing is known, and any page at most.
const FIRST_PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 1000;

/// How large pages should be, in bytes; a page is in memory at once.
const PAGE_SIZE: usize = 1 << 20;

/// How far a reading has come.
pub struct Pages {
    from: Vec<u8>,
    end: Vec<u8>,
    keys_only: bool,
    limit: i64,
    revision: i64,
    is_whole: bool,
}

impl Pages {
    /// All keys that begin with `prefix`, which does not end in a byte 255.
    pub fn below(prefix: &str, keys_only: bool) -> Pages {
        let from = prefix.as_bytes().to_vec();
        let mut end = from.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let limit = if keys_only { LARGEST_PAGE } else { FIRST_PAGE };
        Pages { from, end, keys_only, limit, revision: 0, is_whole: false }
    }

    /// What to ask for next; None where everything was read.
    pub fn next(&self) -> Option<(Vec<u8>, GetOptions)> {
        let options = GetOptions::new().with_range(self.end.clone()).with_limit(self.limit);
        let options = options.with_revision(self.revision);
        let options = if self.keys_only { options.with_keys_only() } else { options };
        (!self.is_whole).then(|| (self.from.clone(), options))
    }

    /// Goes on behind this page.
    pub fn read(&mut self, page: &GetResponse) {
        if self.revision == 0 {
            self.revision = page.header().map_or(0, ResponseHeader::revision);
        }
        let Some(last) = page.kvs().last().filter(|_| page.more()) else {
            self.is_whole = true;
            return;
        };
        self.from = [last.key(), b"\0"].concat();
        if !self.keys_only {
            let size: usize = page.kvs().iter().map(|kv| kv.value().len()).sum();
            let average = size / page.kvs().len().max(1) + 1;
            self.limit = i64::try_from(PAGE_SIZE / average).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
        }
    }

    /// A page was larger than what is taken, as values differ: whether a smaller one can be asked for.
    pub fn shrink(&mut self) -> bool {
        let is_large = self.limit > 1;
        self.limit = (self.limit / 8).max(1);
        is_large
    }

    /// The revision of the first page; 0 before it was read.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}
