//! Watch rules: which events a watcher gets next. The watcher's position is a
//! value of its own, so a slow one catches up from history like a new one.

use kv::{Error, Event, EventKind, KeyRange, Revision, WatchBatch, WatchFilter, WatchRequest};

use crate::{keyspace::Keyspace, log::Touched, value::Resolve};

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

    fn wants(&self, touched: &Touched) -> bool {
        let kind = if touched.deleted { self.deletes } else { self.puts };
        kind && self.range.contains(&touched.key)
    }
}

/// Events of whole revisions from the watcher's position to at most `visible`,
/// stopping after the revision that brings them to `events_max`. The second
/// part is the watcher's position afterwards.
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
    let mut next = watch.next;
    while next <= visible && events.len() < events_max {
        for touched in keyspace.log.get(next).unwrap_or_default() {
            if watch.wants(touched) {
                events.push(event(keyspace, watch, touched, next, values));
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

/// Moves the watcher on; nothing to send is `None`.
pub(crate) fn advance(watch: &mut Watch, events: Vec<Event>, next: Revision) -> Option<WatchBatch> {
    watch.next = next;
    let revision = Revision(next.0 - 1);
    (!events.is_empty()).then_some(WatchBatch { revision, events })
}
