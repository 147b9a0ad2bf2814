//! Ranges of rows read one after another and page by page, at one revision.
//!
//! The store counts all that is left of a range for every page of it, while
//! the keyspace's payments wait. So a walk of a shard goes bucket by bucket:
//! what a page costs does not grow with the shard.

use std::collections::VecDeque;

use kv::{KeyRange, KeyValue, Kv, RangeRequest, Revision};

use crate::Error;

/// Rows per page: about 64 KB of payments, and one round trip for most users.
const PAGE_ROWS: usize = 512;

pub struct Scan {
    /// What is left to read; empty once the last page was read.
    rest: VecDeque<KeyRange>,
    revision: Option<Revision>,
    page: VecDeque<KeyValue>,
}

// === impl Scan ===

impl Scan {
    /// At `revision`, or at the newest as of the first page. Rows come in key
    /// order if the ranges do.
    pub fn new(ranges: impl IntoIterator<Item = KeyRange>, revision: Option<Revision>) -> Scan {
        Scan { rest: ranges.into_iter().collect(), revision, page: VecDeque::new() }
    }

    /// Only rows whose key is above `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Scan {
        self.rest = self.rest.into_iter().filter_map(|range| above(range, key)).collect();
        self
    }

    /// The next row; none at the end.
    pub async fn next(&mut self, kv: &dyn Kv) -> Result<Option<KeyValue>, Error> {
        if self.page.is_empty() {
            self.fetch(kv).await?;
        }
        Ok(self.page.pop_front())
    }

    /// The next row if its key fulfils `wanted`; otherwise it stays.
    pub async fn next_if(
        &mut self,
        kv: &dyn Kv,
        wanted: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<KeyValue>, Error> {
        if self.page.is_empty() {
            self.fetch(kv).await?;
        }
        match self.page.front() {
            Some(row) if wanted(&row.key) => Ok(self.page.pop_front()),
            _ => Ok(None),
        }
    }

    /// The revision that is read, fixed by the first page.
    pub async fn revision(&mut self, kv: &dyn Kv) -> Result<Revision, Error> {
        if self.revision.is_none() {
            self.fetch(kv).await?;
        }
        self.revision.ok_or_else(|| Error::store("a range without a revision"))
    }

    /// The next page that has rows, if there is one.
    async fn fetch(&mut self, kv: &dyn Kv) -> Result<(), Error> {
        while self.page.is_empty() {
            let Some(range) = self.rest.front().cloned() else { break };
            let request = RangeRequest {
                revision: self.revision,
                ..RangeRequest::new(range.clone()).limit(PAGE_ROWS)
            };
            let page = kv.range(request).await?;
            self.revision.get_or_insert(page.revision);
            self.rest.pop_front();
            let last = page.kvs.last().filter(|_| page.more);
            if let Some(rest) = last.and_then(|last| above(range, &last.key)) {
                self.rest.push_front(rest);
            }
            self.page = page.kvs.into();
        }
        Ok(())
    }
}

/// The part of `range` whose keys are above `key`; none when there is none.
fn above(range: KeyRange, key: &[u8]) -> Option<KeyRange> {
    let from = [key, &[0]].concat().into();
    match range {
        KeyRange::Key(_) => None,
        KeyRange::Span { from: start, to } => {
            let from = std::cmp::max(from, start);
            (from < to).then_some(KeyRange::Span { from, to })
        }
        KeyRange::From(start) => Some(KeyRange::From(std::cmp::max(from, start))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_starts_right_after_the_last_key() {
        let range = KeyRange::prefix("/p/");
        let rest = above(range.clone(), b"/p/5").expect("some is left");
        assert!(!rest.contains(b"/p/5") && rest.contains(b"/p/5a") && !rest.contains(b"/q"));
        assert_eq!(above(range.clone(), b"/q"), None);
        assert_eq!(above(range.clone(), b"/a"), Some(range));
    }
}
