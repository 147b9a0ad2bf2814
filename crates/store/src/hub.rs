//! The watchers of one keyspace and what each has been sent.
//!
//! Every watcher has a position in history and a bounded buffer. A place in
//! the buffer is reserved before the position moves, so nothing is lost or
//! sent twice. A watcher whose buffer is full is left alone until it has room;
//! then it goes on from its position, out of history, exactly like a new
//! watcher that starts in the past. Writers never wait for anyone.

use std::collections::BTreeMap;

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use keyspace::{Keyspace, Watch};
use kv::{Error, Revision, WatchRequest};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    news::{News, NewsResult},
    vault::Vault,
};

/// Items a watcher may be behind before it has to read history again. An item
/// is all its events of one batch of writes, so this covers a pause of a
/// second at full speed; the events share their bytes with the index.
const BUFFER_ITEMS: usize = 64;

/// Events in one item while catching up, give or take one revision. With
/// Kubernetes-sized values about a megabyte on the wire, which is also where
/// the rules end an item of larger ones.
const ITEM_EVENTS_MAX: usize = 256;

/// Watchers of one keyspace; 5 processes with 2 watches per kind use a few
/// hundred.
const WATCHERS_MAX: usize = 10_000;

/// Never used twice in the life of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatcherId(u64);

#[derive(Default)]
pub(crate) struct Hub {
    watchers: BTreeMap<WatcherId, Watcher>,
    /// What the last watcher was told: the next often wants the same.
    last: Option<Last>,
    /// Of those, how many want to hear of progress.
    wants_progress: usize,
    /// One for each watcher that is behind.
    waiting: FuturesUnordered<BoxFuture<'static, WatcherId>>,
    last_id: u64,
}

struct Watcher {
    watch: Watch,
    buffer: mpsc::Sender<NewsResult>,
    /// Its buffer was full when there was something to send.
    behind: bool,
    wants_progress: bool,
    /// Newest revision that it has been told of.
    told: Revision,
}

/// One step of one watcher.
struct Last {
    before: Watch,
    after: Watch,
    news: Option<News>,
}

enum Fed {
    UpToDate,
    Behind,
    Ended,
}

// === impl Hub ===

impl Hub {
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    pub fn behind(&self) -> usize {
        self.waiting.len()
    }

    /// Places a watcher. Its first item is `Created`.
    pub async fn add(
        &mut self,
        request: &WatchRequest,
        keyspace: &Keyspace,
        visible: Revision,
        vault: &Vault,
    ) -> Result<(WatcherId, mpsc::Receiver<NewsResult>), Error> {
        if self.watchers.len() >= WATCHERS_MAX {
            return Err(Error::TooManyRequests);
        }
        let (buffer, items) = mpsc::channel(BUFFER_ITEMS);
        buffer
            .try_send(Ok(News::Created { revision: visible }))
            .expect("a new buffer has room for its first item");
        self.last_id += 1;
        let id = WatcherId(self.last_id);
        let watcher = Watcher {
            watch: Watch::new(request, visible),
            buffer,
            behind: false,
            wants_progress: request.progress_notify,
            told: visible,
        };
        self.wants_progress += usize::from(watcher.wants_progress);
        self.watchers.insert(id, watcher);
        self.feed(id, keyspace, visible, vault).await;
        self.last = None;
        Ok((id, items))
    }

    pub fn remove(&mut self, id: WatcherId) {
        if let Some(watcher) = self.watchers.remove(&id) {
            self.wants_progress -= usize::from(watcher.wants_progress);
        }
    }

    /// Nothing of the keyspace may be served any more: ends every watch.
    pub fn end_all(&mut self, error: &Error) {
        for watcher in std::mem::take(&mut self.watchers).into_values() {
            // Whoever has no room finds its stream ended.
            let _ = watcher.buffer.try_send(Err(error.clone()));
        }
        self.wants_progress = 0;
    }

    /// Sends everyone who keeps up what has become visible.
    pub async fn publish(&mut self, keyspace: &Keyspace, visible: Revision, vault: &Vault) {
        let keeping_up: Vec<WatcherId> = self
            .watchers
            .iter()
            .filter(|(_, watcher)| !watcher.behind && watcher.watch.next() <= visible)
            .map(|(id, _)| *id)
            .collect();
        for id in keeping_up {
            self.feed(id, keyspace, visible, vault).await;
        }
        // It would keep what is compacted away.
        self.last = None;
    }

    /// Resolves to a watcher that was behind and has room again; pending while
    /// there is none.
    pub async fn room(&mut self) -> WatcherId {
        match self.waiting.next().await {
            Some(id) => id,
            None => std::future::pending().await,
        }
    }

    /// Goes on with a watcher that was behind.
    pub async fn catch_up(
        &mut self,
        id: WatcherId,
        keyspace: &Keyspace,
        visible: Revision,
        vault: &Vault,
    ) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.behind = false;
            self.feed(id, keyspace, visible, vault).await;
            self.last = None;
        }
    }

    async fn feed(&mut self, id: WatcherId, keyspace: &Keyspace, visible: Revision, vault: &Vault) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        match watcher.feed(&mut self.last, keyspace, visible, vault).await {
            Fed::UpToDate => {}
            Fed::Ended => self.remove(id),
            Fed::Behind => {
                watcher.behind = true;
                let buffer = watcher.buffer.clone();
                self.waiting.push(Box::pin(async move {
                    // An error is a caller that has gone: it is found out when
                    // the watcher is fed.
                    let _ = buffer.reserve().await;
                    id
                }));
            }
        }
    }

    /// Whether someone who asked for progress has not heard of `visible`.
    pub fn owes_progress(&self, visible: Revision) -> bool {
        // Asked at every wake, and there may be thousands who never want any.
        self.wants_progress > 0
            && self.watchers.values().any(|watcher| watcher.owes_progress(visible))
    }

    /// Tells those who asked for it how far they are.
    pub fn notify_progress(&mut self, visible: Revision) {
        for watcher in self.watchers.values_mut() {
            if watcher.owes_progress(visible) {
                watcher.tell_progress(visible);
            }
        }
    }

    /// Puts a progress item into each of these watchers' streams; tells
    /// whether all of them took it, which those who are behind do not.
    pub fn mark(&mut self, ids: &[WatcherId], visible: Revision) -> bool {
        let ready = |id: &WatcherId| {
            self.watchers
                .get(id)
                .is_none_or(|watcher| watcher.has_reached(visible) && watcher.buffer.capacity() > 0)
        };
        if !ids.iter().all(ready) {
            return false;
        }
        for id in ids {
            if let Some(watcher) = self.watchers.get_mut(id) {
                watcher.tell_progress(visible);
            }
        }
        true
    }
}

// === impl Watcher ===

impl Watcher {
    async fn feed(
        &mut self,
        last: &mut Option<Last>,
        keyspace: &Keyspace,
        visible: Revision,
        vault: &Vault,
    ) -> Fed {
        while self.watch.next() <= visible {
            let place = match self.buffer.try_reserve() {
                Ok(place) => place,
                Err(TrySendError::Full(())) => return Fed::Behind,
                Err(TrySendError::Closed(())) => return Fed::Ended,
            };
            if last.as_ref().is_none_or(|last| last.before != self.watch) {
                match Last::step(&self.watch, keyspace, visible, vault).await {
                    Ok(step) => *last = Some(step),
                    Err(error) => {
                        place.send(Err(error));
                        return Fed::Ended;
                    }
                }
            }
            let step = last.as_ref().expect("it was taken if there was none");
            self.watch.clone_from(&step.after);
            if let Some(news) = &step.news {
                self.told = Revision(self.watch.next().0 - 1);
                place.send(Ok(news.clone()));
            }
        }
        Fed::UpToDate
    }

    /// Has looked at `visible` and everything before. As in etcd, one whose
    /// start lies ahead has not, and there is nothing to tell it yet.
    fn has_reached(&self, visible: Revision) -> bool {
        !self.behind && self.watch.next() == visible.next()
    }

    fn owes_progress(&self, visible: Revision) -> bool {
        self.wants_progress && self.told < visible && self.has_reached(visible)
    }

    fn tell_progress(&mut self, visible: Revision) {
        // A full buffer means that the watcher has older news to read first.
        if self.buffer.try_send(Ok(News::Progress { revision: visible })).is_ok() {
            self.told = visible;
        }
    }
}

// === impl Last ===

impl Last {
    async fn step(
        watch: &Watch,
        keyspace: &Keyspace,
        visible: Revision,
        vault: &Vault,
    ) -> Result<Last, Error> {
        let mut after = watch.clone();
        let polled = vault.poll(keyspace, &mut after, visible, ITEM_EVENTS_MAX).await?;
        Ok(Last { before: watch.clone(), after, news: polled.map(News::changes) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::Memory;
    use kv::{KeyRange, KeyspaceName, Op, Txn};

    use super::*;

    /// A keyspace in which every revision is visible at once.
    struct World {
        hub: Hub,
        keyspace: Keyspace,
        vault: Vault,
    }

    impl World {
        fn new() -> World {
            let rules = keyspace::Config::default();
            let vault = Vault::new(Arc::new(Memory::new()), KeyspaceName::default());
            World { hub: Hub::default(), keyspace: Keyspace::new(rules), vault }
        }

        async fn watch(&mut self) -> (WatcherId, mpsc::Receiver<NewsResult>) {
            let request = WatchRequest {
                progress_notify: true,
                ..WatchRequest::new(KeyRange::prefix("mine/"))
            };
            let visible = self.keyspace.revision();
            self.hub.add(&request, &self.keyspace, visible, &self.vault).await.expect("a watcher")
        }

        async fn put(&mut self, key: &str) -> Revision {
            let put = Txn::default().then(vec![Op::put(key.to_owned(), "v")]);
            let applied = self.keyspace.apply(&put, &keyspace::Values::default());
            let revision = applied.expect("a put").response.revision;
            self.hub.publish(&self.keyspace, revision, &self.vault).await;
            revision
        }
    }

    fn revision_of(item: NewsResult) -> (bool, Revision) {
        match item.expect("the watch goes on") {
            News::Changes(changes) => (true, changes.batch.revision),
            News::Created { revision } | News::Progress { revision } => (false, revision),
        }
    }

    #[tokio::test]
    async fn a_watcher_that_lags_hears_of_no_progress_beyond_what_it_was_sent() {
        let mut world = World::new();
        let (id, mut items) = world.watch().await;
        for n in 0..BUFFER_ITEMS {
            world.put(&format!("mine/{n}")).await;
        }
        let visible = world.keyspace.revision();
        assert_eq!(world.hub.behind(), 1);

        // There is room again, and the hub has not noticed yet.
        for _ in 0..BUFFER_ITEMS / 2 {
            items.recv().await.expect("an item").expect("well");
        }
        assert!(!world.hub.owes_progress(visible));
        world.hub.notify_progress(visible);
        assert!(!world.hub.mark(&[id], visible));

        assert_eq!(world.hub.room().await, id);
        world.hub.catch_up(id, &world.keyspace, visible, &world.vault).await;
        let elsewhere = world.put("yours/1").await;
        assert!(world.hub.mark(&[id], elsewhere));
        let mut events = BUFFER_ITEMS / 2 - 1;
        let last = loop {
            match revision_of(items.recv().await.expect("an item")) {
                (true, _) => events += 1,
                (false, progress) => break progress,
            }
        };
        assert_eq!((events, last), (BUFFER_ITEMS, elsewhere));
    }

    #[tokio::test]
    async fn a_watcher_whose_caller_is_gone_is_forgotten_at_its_next_event() {
        let mut world = World::new();
        let (_, items) = world.watch().await;
        drop(items);
        world.put("mine/1").await;
        assert_eq!(world.hub.len(), 0);
    }
}
