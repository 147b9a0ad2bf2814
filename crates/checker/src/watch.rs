//! What watchers are promised, by the names of etcd's robustness suite.

use crate::{
    Violation,
    history::{Change, Event, History, Request, Said, Watch},
    timeline::{Changed, Timeline},
};

/// One watch under examination.
struct Examined<'a> {
    watch: &'a Watch,
    timeline: &'a Timeline,
    /// The highest revision that anyone may have compacted to.
    compacted: u64,
    /// First revision that has not been accounted for; none until it is known
    /// where the watch began.
    next: Option<u64>,
    /// The history that is forgotten ends before this.
    forgotten: u64,
    violations: Vec<Violation>,
}

pub(crate) fn check(history: &History, timeline: &Timeline) -> Vec<Violation> {
    let compactions = history.operations.iter().filter_map(|operation| match operation.request {
        Request::Compact { revision } => Some(revision),
        _ => None,
    });
    let compacted = compactions.max().unwrap_or(0);
    let forgotten = history.base.as_ref().map_or(0, |base| base.revision);
    let mut violations = Vec::new();
    for watch in &history.watches {
        let mut examined = Examined {
            watch,
            timeline,
            compacted,
            next: watch.start,
            forgotten,
            violations: Vec::new(),
        };
        examined.examine();
        violations.extend(examined.violations);
    }
    violations
}

/// That the watch goes on from where it began.
fn tells(said: &Said) -> bool {
    matches!(said, Said::Events(_) | Said::Progress { .. })
}

// === impl Examined ===

impl Examined<'_> {
    fn examine(&mut self) {
        let mut bookmark = 0;
        if let Some(start) = self.watch.start.filter(|start| *start < self.forgotten)
            && let Some(item) = self.watch.items.iter().find(|item| tells(&item.said))
        {
            let what = format!("history before {} is forgotten, but: {item:?}", self.forgotten);
            self.fail("Compacted", format!("it began at {start}; {what}"));
        }
        for item in &self.watch.items {
            match &item.said {
                Said::Created { revision } => {
                    self.next = self.next.or(Some(revision + 1));
                }
                Said::Progress { revision } => {
                    bookmark = bookmark.max(*revision);
                    self.account_to(*revision, "Bookmarkable");
                }
                Said::Events(events) => {
                    self.events(events, bookmark);
                }
                Said::Ended(_) => {}
            }
        }
    }

    /// One item: whole revisions, each with everything that was asked for.
    fn events(&mut self, events: &[Event], bookmark: u64) {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|event| event.revision == first.revision).count();
            let (revision, events) = (first.revision, &rest[..same]);
            rest = &rest[same..];
            if revision <= bookmark {
                self.fail("Bookmarkable", format!("{revision} came after progress {bookmark}"));
            }
            match self.next {
                None => self.fail("Resumable", format!("{revision} came before the beginning")),
                Some(next) if revision < next => {
                    let rule = if rest.is_empty() { "Ordered" } else { "Unique" };
                    self.fail(rule, format!("{revision} came after {}", next - 1));
                    continue;
                }
                Some(_) => {}
            }
            self.account_to(revision - 1, "Reliable");
            self.revision(revision, events);
            self.next = Some(revision + 1);
        }
    }

    /// Nothing that was asked for is outstanding up to `revision`.
    fn account_to(&mut self, revision: u64, rule: &'static str) {
        let Some(next) = self.next.filter(|next| *next <= revision) else { return };
        for (missing, entry) in self.timeline.revisions.range(next..=revision) {
            if entry.changes.iter().any(|changed| self.wants(&changed.change)) {
                self.fail(rule, format!("revision {missing} was not sent"));
            }
        }
        self.next = Some(revision + 1);
    }

    fn revision(&mut self, revision: u64, events: &[Event]) {
        let Some(entry) = self.timeline.revisions.get(&revision) else {
            return self.fail("Reliable", format!("revision {revision} never was"));
        };
        let due: Vec<_> =
            entry.changes.iter().filter(|changed| self.wants(&changed.change)).collect();
        for event in events {
            if !self.wants(&event.change) {
                self.fail("filter", format!("{event:?} was not asked for"));
            }
            let mut changes = entry.changes.iter();
            match changes.find(|due| due.change.key() == event.change.key()) {
                None => self.fail("Reliable", format!("{event:?} never was")),
                Some(due) => self.event(event, due),
            }
        }
        if events.len() != due.len() {
            let what = format!("{} of {} events of revision {revision}", events.len(), due.len());
            let rule = if events.len() < due.len() { "Atomic" } else { "Unique" };
            self.fail(rule, what);
        }
    }

    fn event(&mut self, event: &Event, due: &Changed) {
        if event.change != due.change {
            self.fail("Reliable", format!("{event:?} was {:?}", due.change));
        }
        if let Change::Put(kv) = &event.change
            && (kv.created == kv.modified) != due.before.is_none()
        {
            self.fail("is-create", format!("{event:?} came after {:?}", due.before));
        }
        let due_before = due.before.as_ref().filter(|_| self.watch.prev_kv);
        // What was compacted away meanwhile is left out.
        let may_be_left_out = event.revision <= self.compacted && event.before.is_none();
        if event.before.as_ref() != due_before && !may_be_left_out {
            self.fail("prev_kv", format!("{event:?} came after {:?}", due.before));
        }
    }

    fn wants(&self, change: &Change) -> bool {
        let filtered = match change {
            Change::Put(_) => self.watch.no_put,
            Change::Delete { .. } => self.watch.no_delete,
        };
        !filtered && self.watch.keys.contain(change.key())
    }

    fn fail(&mut self, rule: &'static str, what: String) {
        let Watch { client, keys, start, .. } = self.watch;
        let what = format!("watch of client {client} on {keys:?} from {start:?}: {what}");
        self.violations.push(Violation::new(rule, what));
    }
}
