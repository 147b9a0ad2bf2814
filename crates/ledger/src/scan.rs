//! A range of rows read page by page at one revision, in key order.

use std::collections::VecDeque;

use kv::{KeyRange, KeyValue, Kv, RangeRequest, Revision};

use crate::Error;

/// Rows per page: about 64 KB of payments, and one round trip for most users.
const PAGE_ROWS: usize = 512;

pub struct Scan {
    /// None once the last page was read.
    rest: Option<KeyRange>,
    revision: Option<Revision>,
    page: VecDeque<KeyValue>,
}

// === impl Scan ===

impl Scan {
    /// At `revision`, or at the newest as of the first page.
    pub fn new(range: KeyRange, revision: Option<Revision>) -> Scan {
        Scan { rest: Some(range), revision, page: VecDeque::new() }
    }

    /// Only rows whose key is above `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Scan {
        self.rest = self.rest.and_then(|range| above(range, key));
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

    async fn fetch(&mut self, kv: &dyn Kv) -> Result<(), Error> {
        let Some(range) = self.rest.take() else { return Ok(()) };
        let request = RangeRequest {
            revision: self.revision,
            ..RangeRequest::new(range.clone()).limit(PAGE_ROWS)
        };
        let page = kv.range(request).await?;
        self.revision.get_or_insert(page.revision);
        self.rest = page.kvs.last().filter(|_| page.more).and_then(|last| above(range, &last.key));
        self.page = page.kvs.into();
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
