//! Watch rules: which events a watcher gets next. The watcher's position is a
//! value of its own, so a slow one catches up from history like a new one.

use kv::{Error, Event, EventKind, KeyRange, Revision, WatchBatch, WatchFilter, WatchRequest};

use crate::{keyspace::Keyspace, log::Touched, value::Resolve};

/// Keys and values in one batch of events, give or take one revision: many
/// large objects written in a row would otherwise make it hundreds of megabytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What one watcher wants and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    range: KeyRange,
    next: Revision,
    prev_kv: bool,
    puts: bool,
    deletes: bool,
}

// === impl Watch ===

impl Watch {
    /// A watch placed when `visible` was the newest visible revision. A start
    /// that lies ahead is waited for.
    #[must_use]
    pub fn new(request: &WatchRequest, visible: Revision) -> Watch {
        Watch {
            range: request.range.clone(),
            next: request.start.unwrap_or(visible.next()),
            prev_kv: request.prev_kv,
            puts: !request.filters.contains(&WatchFilter::NoPut),
            deletes: !request.filters.contains(&WatchFilter::NoDelete),
        }
    }

    /// First revision that has not been looked at for this watcher.
    #[must_use]
    pub fn next(&self) -> Revision {
        self.next
    }

    #[must_use]
    pub fn range(&self) -> &KeyRange {
        &self.range
    }

    fn wants(&self, touched: &Touched) -> bool {
        let kind = if touched.deleted { self.deletes } else { self.puts };
        kind && self.range.contains(&touched.key)
    }
}

/// Events of whole revisions from the watcher's position to at most `visible`,
/// stopping after the revision that brings them to `events_max` or to
/// [`BATCH_BYTES_MAX`]. The second part is the watcher's position afterwards.
pub(crate) fn collect(
    keyspace: &Keyspace,
    watch: &Watch,
    visible: Revision,
    events_max: usize,
    values: &impl Resolve,
) -> Result<(Vec<Event>, Revision), Error> {
    if watch.next < keyspace.compacted() {
        return Err(Error::Compacted { compacted: keyspace.compacted() });
    }
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut next = watch.next;
    while next <= visible && events.len() < events_max && bytes < BATCH_BYTES_MAX {
        for touched in keyspace.log.get(next).unwrap_or_default() {
            if watch.wants(touched) {
                let event = event(keyspace, watch, touched, next, values);
                bytes += size(&event);
                events.push(event);
            }
        }
        next = next.next();
    }
    Ok((events, next))
}

fn event(
    keyspace: &Keyspace,
    watch: &Watch,
    touched: &Touched,
    revision: Revision,
    values: &impl Resolve,
) -> Event {
    let (key, history) =
        keyspace.index.get(&touched.key).expect("a revision in the log has its keys in the index");
    let version = history
        .written_at(revision, touched.deleted)
        .expect("a revision in the log has its versions in history");
    let before = Revision(revision.0 - 1);
    let prev_kv = (watch.prev_kv && before >= keyspace.compacted())
        .then(|| history.live_at(before))
        .flatten()
        .map(|version| version.key_value(key, values));
    let kind = if touched.deleted { EventKind::Delete } else { EventKind::Put };
    Event { kind, kv: version.key_value(key, values), prev_kv }
}

fn size(event: &Event) -> usize {
    let before = event.prev_kv.as_ref().map_or(0, |kv| kv.value.len());
    event.kv.key.len() + event.kv.value.len() + before
}

/// Moves the watcher on; nothing to send is `None`.
pub(crate) fn advance(watch: &mut Watch, events: Vec<Event>, next: Revision) -> Option<WatchBatch> {
    watch.next = next;
    let revision = Revision(next.0 - 1);
    (!events.is_empty()).then_some(WatchBatch { revision, events })
}

#[cfg(test)]
mod tests {
    use kv::{Op, Txn};

    use super::*;
    use crate::{Config, Values};

    #[test]
    fn a_batch_of_large_values_ends_at_its_bytes() {
        const LARGE: usize = BATCH_BYTES_MAX / 4;
        let none = Values::default();
        let mut keyspace = Keyspace::new(Config::default());
        for n in 0..10 {
            let put = Txn::default().then(vec![Op::put(format!("{n}"), vec![0; LARGE])]);
            let _ = keyspace.apply(&put, &none).expect("a put");
        }
        let request =
            WatchRequest { start: Some(Revision(2)), ..WatchRequest::new(KeyRange::prefix("")) };
        let mut watch = Watch::new(&request, keyspace.revision());
        let mut batches = Vec::new();
        while watch.next() <= keyspace.revision() {
            let batch = keyspace.poll(&mut watch, keyspace.revision(), 256, &none);
            batches.push(batch.expect("it is not compacted").expect("events").events.len());
        }
        assert_eq!(batches, [4, 4, 2]);
    }
}
