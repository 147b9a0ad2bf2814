//! One pass over the source at one revision.

use std::cmp::Ordering;

use bytes::Bytes;
use kv::{DeleteRequest, KeyRange, KeyValue, Kv, Op, PutRequest, RangeRequest, Revision};

use super::{ImportError, Progress, leases::Leases, write::Writer};

/// What a page should hold; its number of keys follows.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_KEYS_MAX: usize = 1000;
/// Until it is known how large they are.
const PAGE_KEYS_FIRST: usize = 16;

pub(super) struct Pass<'a> {
    pub from: &'a dyn Kv,
    pub to: &'a dyn Kv,
    pub range: &'a KeyRange,
    /// Nothing is there to compare with.
    pub target_empty: bool,
}

/// Keys of a range, a page at a time, as of one revision.
pub(super) struct Pages<'a> {
    kv: &'a dyn Kv,
    rest: Option<KeyRange>,
    revision: Option<Revision>,
    limit: usize,
}

// === impl Pass ===

impl Pass<'_> {
    pub async fn run(
        self,
        leases: &mut Leases,
        progress: &mut Progress,
        told: &mut impl FnMut(&Progress),
    ) -> Result<(), ImportError> {
        let count = RangeRequest { count_only: true, ..RangeRequest::new(self.range.clone()) };
        let count = self.from.range(count).await.map_err(ImportError::Source)?;
        let revision = count.revision;
        *progress =
            Progress { keys_total: count.count as u64, written: progress.written, ..*progress };
        (progress.keys, progress.bytes, progress.following) = (0, 0, false);
        let mut pages = Pages::new(self.from, self.range, Some(revision));
        let mut writer = Writer::new(self.to);
        while let Some((covered, page)) = pages.next().await.map_err(ImportError::Source)? {
            let there = match self.target_empty {
                true => Vec::new(),
                false => self.there(&covered).await?,
            };
            progress.keys += page.len() as u64;
            progress.bytes +=
                page.iter().map(|kv| (kv.key.len() + kv.value.len()) as u64).sum::<u64>();
            for op in difference(page, there) {
                let op = match op {
                    Op::Put(mut put) => {
                        if let Some(lease) = put.lease
                            && !leases.ensure(self.from, self.to, lease).await?
                        {
                            // It ended at the source, and the key with it.
                            put.lease = None;
                        }
                        Op::Put(put)
                    }
                    other => other,
                };
                writer.add(op).await?;
            }
            leases.keep_up(self.from, self.to).await?;
            progress.written = writer.written();
            told(progress);
        }
        writer.flush().await?;
        progress.written = writer.written();
        progress.revision = revision;
        told(progress);
        Ok(())
    }

    async fn there(&self, covered: &KeyRange) -> Result<Vec<KeyValue>, ImportError> {
        let mut pages = Pages::new(self.to, covered, None);
        let mut all = Vec::new();
        while let Some((_, page)) = pages.next().await.map_err(ImportError::Target)? {
            all.extend(page);
        }
        Ok(all)
    }
}

/// What makes `there` into `page`; both are in key order.
fn difference(page: Vec<KeyValue>, there: Vec<KeyValue>) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut there = there.into_iter().peekable();
    for wanted in page {
        while let Some(extra) = there.next_if(|found| found.key < wanted.key) {
            ops.push(delete(extra.key));
        }
        let found = there.next_if(|found| found.key.cmp(&wanted.key) == Ordering::Equal);
        let same =
            found.is_some_and(|found| found.value == wanted.value && found.lease == wanted.lease);
        if !same {
            ops.push(Op::Put(PutRequest {
                lease: wanted.lease,
                ..PutRequest::new(wanted.key, wanted.value)
            }));
        }
    }
    ops.extend(there.map(|extra| delete(extra.key)));
    ops
}

pub(super) fn delete(key: Bytes) -> Op {
    Op::Delete(DeleteRequest { range: KeyRange::Key(key), prev_kv: false })
}

// === impl Pages ===

impl<'a> Pages<'a> {
    pub fn new(kv: &'a dyn Kv, range: &KeyRange, revision: Option<Revision>) -> Pages<'a> {
        Pages { kv, rest: Some(range.clone()), revision, limit: PAGE_KEYS_FIRST }
    }

    /// The next page, and the part of the range that it covers; the last one
    /// covers the rest.
    pub async fn next(&mut self) -> Result<Option<(KeyRange, Vec<KeyValue>)>, kv::Error> {
        let Some(rest) = self.rest.take() else { return Ok(None) };
        let request = RangeRequest { revision: self.revision, ..RangeRequest::new(rest.clone()) };
        let found = self.kv.range(request.limit(self.limit)).await?;
        self.revision.get_or_insert(found.revision);
        let bytes: usize = found.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        let each = (bytes / found.kvs.len().max(1)).max(1);
        self.limit = (PAGE_BYTES / each).clamp(1, PAGE_KEYS_MAX);
        let covered = match found.kvs.last() {
            Some(last) if found.more => {
                let next: Bytes = [&last.key[..], b"\0"].concat().into();
                let from = rest.start().clone();
                self.rest = match rest {
                    KeyRange::Span { to, .. } => Some(KeyRange::Span { from: next.clone(), to }),
                    KeyRange::From(_) => Some(KeyRange::From(next.clone())),
                    KeyRange::Key(_) => None,
                };
                KeyRange::Span { from, to: next }
            }
            _ => rest,
        };
        Ok(Some((covered, found.kvs)))
    }
}
