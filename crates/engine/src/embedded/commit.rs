//! The committer: adds to the log and raises epochs, one group at a time.
//!
//! Groups are committed by a thread of its own, which gathers what comes while
//! it syncs. A single small batch that finds nobody before it is committed by
//! whoever brings it: waking a thread and being woken by it would take as long
//! again as a fast disk takes to sync.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fjall::PersistMode;
use keyspace::Fold;
use kv::{KeyspaceName, Revision};
use tokio::sync::{mpsc, oneshot};

use super::{
    Disk, entry,
    index::{Site, Stored},
    layout::{Head, Id, Mark, batch_name, head_key, mark_key},
    lookout::Lookout,
    tidy::end_process,
    wal::{FRAME_HEADER_BYTES, Wal},
};
use crate::{Epoch, Error, Outcome, Raised, Seq, stored::EncodedBatch};

/// Requests that may wait for the committer. Beyond it callers wait to hand
/// theirs over; each keyspace has one or two under way.
const QUEUE_MAX: usize = 1024;

/// A group is closed at this size, so that the first in it does not wait for
/// megabytes of others.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A batch of more changes than this has company; its sync is better waited for
/// elsewhere.
const IN_PLACE_CHANGES_MAX: usize = 1;

/// A disk that takes longer is not worth a worker's time.
const IN_PLACE_SYNC_MAX: Duration = Duration::from_micros(500);

/// Handle to the thread; it ends when this is dropped.
pub(super) struct Committer {
    desk: Arc<Mutex<Desk>>,
    lookout: Lookout,
    post: Option<Post>,
    thread: Option<JoinHandle<()>>,
}

/// The way to the thread.
struct Post {
    requests: mpsc::Sender<Request>,
    /// Handed over and not decided.
    queued: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Request {
    Append {
        keyspace: KeyspaceName,
        batch: EncodedBatch,
        answer: oneshot::Sender<Outcome>,
    },
    Raise {
        keyspace: KeyspaceName,
        seen: Epoch,
        answer: oneshot::Sender<Raised>,
    },
    Install {
        keyspace: KeyspaceName,
        epoch: Epoch,
        piece: Fold,
        answer: oneshot::Sender<Outcome>,
    },
    /// End the log's file, so that all of it can be given back.
    Rotate {
        answer: oneshot::Sender<()>,
    },
}

/// What decides: in the hands of one thread at a time.
struct Desk {
    disk: Arc<Disk>,
    wal: Wal,
    heads: HashMap<KeyspaceName, Head>,
    next_id: u32,
}

/// Takes the process along when a thread that holds the desk unwinds: without the
/// committer nothing can be written, and its heads may not be what is on disk.
struct Unwinding;

/// Requests decided together; answered once they are durable.
struct Group {
    /// With room for its header.
    frame: Vec<u8>,
    batches: u64,
    changes: Vec<Change>,
    answers: Vec<Answer>,
}

/// What others learn once the group is durable.
enum Change {
    Raised { keyspace: KeyspaceName, id: Id, epoch: Epoch },
    Batch { keyspace: KeyspaceName, seq: Seq, revision: Revision, offset: usize, length: usize },
}

enum Answer {
    Append(oneshot::Sender<Outcome>, Outcome),
    Raise(oneshot::Sender<Raised>, Raised),
}

// === impl Committer ===

impl Committer {
    pub(super) fn start(disk: Arc<Disk>, wal: Wal) -> Result<Committer, Error> {
        let heads: HashMap<_, _> =
            disk.index().lines().map(|(name, line)| (name.clone(), line.head)).collect();
        let next_id = heads.values().map(|head| head.id.0 + 1).max().unwrap_or(0);
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let path = disk.path.clone();
        let failed = |error: io::Error| Error::open(&path, crate::Storage(error.to_string()));
        let lookout = Lookout::start().map_err(failed)?;
        let desk = Arc::new(Mutex::new(Desk { disk, wal, heads, next_id }));
        let queued = Arc::new(AtomicUsize::new(0));
        let work = {
            let (desk, queued) = (desk.clone(), queued.clone());
            move || run(&desk, &queued, queue)
        };
        let thread =
            std::thread::Builder::new().name("engine-commit".into()).spawn(work).map_err(failed)?;
        Ok(Committer { desk, lookout, post: Some(Post { requests, queued }), thread: Some(thread) })
    }

    pub(super) async fn append(
        &self,
        keyspace: KeyspaceName,
        batch: EncodedBatch,
        changes: usize,
    ) -> Result<Outcome, Error> {
        if changes <= IN_PLACE_CHANGES_MAX
            && let Some(mut desk) = self.desk_in_place()
            && let Some(_watch) = self.lookout.watch()
        {
            return Ok(desk.append_alone(keyspace, batch));
        }
        self.post()?.append(keyspace, batch).await
    }

    pub(super) async fn raise(&self, keyspace: KeyspaceName, seen: Epoch) -> Result<Raised, Error> {
        self.post()?.raise(keyspace, seen).await
    }

    pub(super) async fn install(
        &self,
        keyspace: KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        self.post()?.send(Request::Install { keyspace, epoch, piece, answer }).await?;
        Ok(outcome.await.unwrap_or(Outcome::Unknown))
    }

    pub(super) async fn rotate(&self) -> Result<(), Error> {
        let (answer, rotated) = oneshot::channel();
        self.post()?.send(Request::Rotate { answer }).await?;
        rotated.await.map_err(|_| Error::Stopped)
    }

    fn post(&self) -> Result<&Post, Error> {
        self.post.as_ref().ok_or(Error::Stopped)
    }

    /// The desk, if nobody is at it or waits for it, and the disk is fast.
    fn desk_in_place(&self) -> Option<MutexGuard<'_, Desk>> {
        let desk = self.desk.try_lock().ok()?;
        let is_alone = self.post.as_ref().is_some_and(|post| post.queued.load(SeqCst) == 0);
        let is_fast = desk.disk.counters.recent() <= IN_PLACE_SYNC_MAX;
        (is_alone && is_fast).then_some(desk)
    }
}

// === impl Post ===

impl Post {
    async fn append(&self, keyspace: KeyspaceName, batch: EncodedBatch) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request::Append { keyspace, batch, answer }).await?;
        // Handed over and never answered: it may be durable all the same.
        Ok(outcome.await.unwrap_or(Outcome::Unknown))
    }

    async fn raise(&self, keyspace: KeyspaceName, seen: Epoch) -> Result<Raised, Error> {
        let (answer, raised) = oneshot::channel();
        self.send(Request::Raise { keyspace, seen, answer }).await?;
        Ok(raised.await.unwrap_or(Raised::Unknown))
    }

    async fn send(&self, request: Request) -> Result<(), Error> {
        let place = self.requests.reserve().await.map_err(|_| Error::Stopped)?;
        self.queued.fetch_add(1, SeqCst);
        place.send(request);
        Ok(())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.post = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been told; the data is as it was.
            let _ = thread.join();
        }
    }
}

/// The thread.
fn run(desk: &Mutex<Desk>, queued: &AtomicUsize, mut queue: mpsc::Receiver<Request>) {
    while let Some(first) = queue.blocking_recv() {
        let mut desk = desk.lock().expect("who panics with it ends the process");
        let _guard = Unwinding;
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(request) = next {
            desk.decide(request, &mut group);
            queued.fetch_sub(1, SeqCst);
            let has_room = group.frame.len() < GROUP_BYTES_MAX;
            next = has_room.then(|| queue.try_recv().ok()).flatten();
        }
        if let Err(error) = desk.commit(group) {
            end_process(&error);
        }
    }
}

// === impl Desk ===

impl Desk {
    /// A group of one, on the caller's thread.
    fn append_alone(&mut self, keyspace: KeyspaceName, batch: EncodedBatch) -> Outcome {
        let _guard = Unwinding;
        let mut group = Group::default();
        let outcome = self.append(keyspace, batch, &mut group);
        if let Err(error) = self.commit(group) {
            end_process(&error);
        }
        outcome
    }

    /// Decides one request against the heads as they will be after the group.
    fn decide(&mut self, request: Request, group: &mut Group) {
        match request {
            Request::Append { keyspace, batch, answer } => {
                let outcome = self.append(keyspace, batch, group);
                group.answers.push(Answer::Append(answer, outcome));
            }
            Request::Raise { keyspace, seen, answer } => {
                let raised = self.raise(keyspace, seen, group);
                group.answers.push(Answer::Raise(answer, raised));
            }
            Request::Install { keyspace, epoch, piece, answer } => {
                let outcome = self.install(&keyspace, epoch, piece);
                group.answers.push(Answer::Append(answer, outcome));
            }
            Request::Rotate { answer } => {
                if let Err(error) = self.wal.rotate(0) {
                    end_process(&error);
                }
                // Whoever no longer waits has no use for the answer.
                let _ = answer.send(());
            }
        }
    }

    fn append(
        &mut self,
        keyspace: KeyspaceName,
        batch: EncodedBatch,
        group: &mut Group,
    ) -> Outcome {
        let Some(head) = self.heads.get_mut(&keyspace) else {
            return Outcome::Deposed;
        };
        if batch.epoch != head.epoch || batch.seq != head.seq.next() {
            return Outcome::Deposed;
        }
        head.seq = batch.seq;
        head.revision = batch.revision.unwrap_or(head.revision);
        let (seq, revision) = (head.seq, head.revision);
        let stored = batch.finish(&batch_name(seq), revision);
        let offset = entry::put_batch(&mut group.frame, head.id, &stored);
        group.batches += 1;
        group.changes.push(Change::Batch { keyspace, seq, revision, offset, length: stored.len() });
        Outcome::Committed
    }

    fn raise(&mut self, keyspace: KeyspaceName, seen: Epoch, group: &mut Group) -> Raised {
        let head = self.heads.entry(keyspace.clone()).or_insert_with(|| {
            let id = Id(self.next_id);
            self.next_id += 1;
            Head::new(id)
        });
        if head.epoch != seen {
            return Raised::Lost(head.epoch);
        }
        head.epoch = seen.next();
        let (id, epoch) = (head.id, head.epoch);
        entry::put_raised(&mut group.frame, id, epoch, &keyspace);
        group.changes.push(Change::Raised { keyspace, id, epoch });
        Raised::Won(epoch)
    }

    /// Into the base at once, and only where the log is empty: so the mark needs
    /// no batch behind it.
    fn install(&mut self, keyspace: &KeyspaceName, epoch: Epoch, piece: Fold) -> Outcome {
        let head = self.heads.get_mut(keyspace);
        let Some(head) = head.filter(|head| head.epoch == epoch && head.seq == Seq(0)) else {
            return Outcome::Deposed;
        };
        head.revision = head.revision.max(piece.revision);
        let mark = Mark { seq: head.seq, revision: piece.revision, compacted: piece.compacted };
        let mut write = self.disk.db.batch().durability(Some(PersistMode::SyncData));
        self.disk.write_fold(&mut write, head.id, piece);
        write.insert(&self.disk.log, mark_key(head.id), mark.encode());
        write.insert(&self.disk.log, head_key(keyspace), head.encode());
        if let Err(error) = write.commit() {
            end_process(&error);
        }
        if let Some(line) = self.disk.index().line_mut(keyspace) {
            line.head = *head;
        }
        Outcome::Committed
    }

    #[allow(clippy::disallowed_methods, reason = "measures a sync; decides nothing")]
    fn commit(&mut self, mut group: Group) -> io::Result<()> {
        if !group.changes.is_empty() {
            let start = Instant::now();
            let (segment, at) = self.wal.append(&mut group.frame)?;
            let took: Duration = start.elapsed();
            self.disk.counters.synced(group.batches, took);
            let mut index = self.disk.index();
            for change in group.changes {
                match change {
                    Change::Raised { keyspace, id, epoch } => index.raise(&keyspace, id, epoch),
                    Change::Batch { keyspace, seq, revision, offset, length } => {
                        let line = index.line_mut(&keyspace).expect("it was raised before");
                        let (segment, at) = (segment.clone(), at + offset as u64);
                        let site = Site::File { segment, at, length };
                        line.push(seq, Stored { revision, site });
                    }
                }
            }
        }
        for answer in group.answers {
            // Whoever no longer waits has no use for the answer.
            match answer {
                Answer::Append(to, outcome) => drop(to.send(outcome)),
                Answer::Raise(to, raised) => drop(to.send(raised)),
            }
        }
        Ok(())
    }
}

// === impl Unwinding ===

impl Drop for Unwinding {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the store's committer has panicked; ending the process");
            std::process::abort()
        }
    }
}

// === impl Group ===

impl Default for Group {
    fn default() -> Group {
        let frame = vec![0; FRAME_HEADER_BYTES];
        Group { frame, batches: 0, changes: Vec::new(), answers: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;
    use crate::{Batch, Seq};

    #[tokio::test]
    async fn what_was_handed_over_and_not_answered_is_unknown() {
        let (requests, mut queue) = mpsc::channel(1);
        let post = Post { requests, queued: Arc::default() };
        let dropping = async {
            for _ in 0..2 {
                drop(queue.recv().await.expect("a request"));
            }
            queue
        };
        let asking = async {
            let batch = Batch { epoch: Epoch(1), seq: Seq(1), records: Vec::new() };
            let batch = EncodedBatch::new(&batch).expect("it is small");
            let name = KeyspaceName::default();
            (post.append(name.clone(), batch).await, post.raise(name, Epoch(1)).await)
        };
        let (queue, (appended, raised)) = tokio::join!(dropping, asking);
        assert!(matches!(appended, Ok(Outcome::Unknown)), "{appended:?}");
        assert!(matches!(raised, Ok(Raised::Unknown)), "{raised:?}");

        drop(queue);
        let refused = post.raise(KeyspaceName::default(), Epoch(1)).await;
        assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
    }

    #[test]
    fn a_committer_that_unwinds_ends_the_process() {
        const CHILD: &str = "POLIS_TEST_UNWIND";
        const ABORTED: i32 = 6;
        if std::env::var_os(CHILD).is_some() {
            let unwound = std::thread::spawn(|| {
                let _guard = Unwinding;
                panic!("on purpose");
            });
            let _ = unwound.join();
            return;
        }
        let name = "embedded::commit::tests::a_committer_that_unwinds_ends_the_process";
        let child = Command::new(std::env::current_exe().expect("our own path"))
            .args(["--exact", name])
            .env(CHILD, "1")
            .output()
            .expect("it starts");
        assert_eq!(child.status.signal(), Some(ABORTED), "{child:?}");
    }
}
