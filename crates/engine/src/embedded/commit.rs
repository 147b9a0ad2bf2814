//! The committer: the one thread that adds to logs and raises epochs.

use std::{
    collections::HashMap,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fjall::PersistMode;
use keyspace::Fold;
use kv::KeyspaceName;
use tokio::sync::{mpsc, oneshot};

use super::{
    Disk,
    layout::{Head, Id, Mark, batch_name, head_key, log_key, mark_key},
};
use crate::{Epoch, Error, Outcome, Raised, Seq, stored::EncodedBatch};

/// Requests that may wait for the committer. Beyond it callers wait to hand
/// theirs over; each keyspace has one or two under way.
const QUEUE_MAX: usize = 1024;

/// A group is closed at this size, so that the first in it does not wait for
/// megabytes of others.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Handle to the thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Committer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Request {
    Append { keyspace: KeyspaceName, batch: EncodedBatch, answer: oneshot::Sender<Outcome> },
    Raise { keyspace: KeyspaceName, seen: Epoch, answer: oneshot::Sender<Raised> },
    Install { keyspace: KeyspaceName, epoch: Epoch, piece: Fold, answer: oneshot::Sender<Outcome> },
}

/// What the thread owns.
struct Thread {
    disk: Arc<Disk>,
    heads: HashMap<KeyspaceName, Head>,
    next_id: u32,
}

/// Takes the process along when the thread that holds it unwinds: without the
/// committer nothing can be written, and its heads may not be what is on disk.
struct Unwinding;

/// Requests decided together; answered once they are durable.
struct Group {
    write: fjall::OwnedWriteBatch,
    bytes: usize,
    batches: u64,
    answers: Vec<Answer>,
}

enum Answer {
    Append(oneshot::Sender<Outcome>, Outcome),
    Raise(oneshot::Sender<Raised>, Raised),
}

// === impl Committer ===

impl Committer {
    pub(super) fn start(disk: Arc<Disk>) -> Result<Committer, Error> {
        let heads: HashMap<_, _> = disk.heads()?.into_iter().collect();
        let next_id = heads.values().map(|head| head.id.0 + 1).max().unwrap_or(0);
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let path = disk.path.clone();
        let thread = std::thread::Builder::new()
            .name("engine-commit".into())
            .spawn(move || Thread { disk, heads, next_id }.run(queue))
            .map_err(|error| Error::Open { path, source: crate::Storage(error.to_string()) })?;
        Ok(Committer { requests: Some(requests), thread: Some(thread) })
    }

    pub(super) async fn append(
        &self,
        keyspace: KeyspaceName,
        batch: EncodedBatch,
    ) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request::Append { keyspace, batch, answer }).await?;
        // Handed over and never answered: it may be durable all the same.
        Ok(outcome.await.unwrap_or(Outcome::Unknown))
    }

    pub(super) async fn raise(&self, keyspace: KeyspaceName, seen: Epoch) -> Result<Raised, Error> {
        let (answer, raised) = oneshot::channel();
        self.send(Request::Raise { keyspace, seen, answer }).await?;
        Ok(raised.await.unwrap_or(Raised::Unknown))
    }

    pub(super) async fn install(
        &self,
        keyspace: KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request::Install { keyspace, epoch, piece, answer }).await?;
        Ok(outcome.await.unwrap_or(Outcome::Unknown))
    }

    async fn send(&self, request: Request) -> Result<(), Error> {
        let requests = self.requests.as_ref().ok_or(Error::Stopped)?;
        requests.send(request).await.map_err(|_| Error::Stopped)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been told; the data is as it was.
            let _ = thread.join();
        }
    }
}

// === impl Thread ===

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let _guard = Unwinding;
        while let Some(first) = queue.blocking_recv() {
            let mut group = Group::new(&self.disk);
            self.decide(first, &mut group);
            while group.bytes < GROUP_BYTES_MAX
                && let Ok(next) = queue.try_recv()
            {
                self.decide(next, &mut group);
            }
            group.commit(&self.disk);
        }
    }

    /// Decides one request against the heads as they will be after the group.
    fn decide(&mut self, request: Request, group: &mut Group) {
        match request {
            Request::Append { keyspace, batch, answer } => {
                let outcome = self.append(&keyspace, batch, group);
                group.answers.push(Answer::Append(answer, outcome));
            }
            Request::Raise { keyspace, seen, answer } => {
                let raised = self.raise(&keyspace, seen, group);
                group.answers.push(Answer::Raise(answer, raised));
            }
            Request::Install { keyspace, epoch, piece, answer } => {
                let outcome = self.install(&keyspace, epoch, piece, group);
                group.answers.push(Answer::Append(answer, outcome));
            }
        }
    }

    fn append(
        &mut self,
        keyspace: &KeyspaceName,
        batch: EncodedBatch,
        group: &mut Group,
    ) -> Outcome {
        let Some(head) = self.heads.get_mut(keyspace) else {
            return Outcome::Deposed;
        };
        if batch.epoch != head.epoch || batch.seq != head.seq.next() {
            return Outcome::Deposed;
        }
        head.seq = batch.seq;
        head.revision = batch.revision.unwrap_or(head.revision);
        group.bytes += batch.len();
        group.batches += 1;
        let stored = batch.finish(&batch_name(head.seq), head.revision);
        group.write.insert(&self.disk.log, log_key(head.id, head.seq), stored);
        group.write.insert(&self.disk.log, head_key(keyspace), head.encode());
        Outcome::Committed
    }

    fn raise(&mut self, keyspace: &KeyspaceName, seen: Epoch, group: &mut Group) -> Raised {
        let head = self.heads.entry(keyspace.clone()).or_insert_with(|| {
            let id = Id(self.next_id);
            self.next_id += 1;
            Head::new(id)
        });
        if head.epoch != seen {
            return Raised::Lost(head.epoch);
        }
        head.epoch = seen.next();
        group.write.insert(&self.disk.log, head_key(keyspace), head.encode());
        Raised::Won(head.epoch)
    }
}

impl Thread {
    /// Only into a log that is empty, so the mark needs no batch behind it.
    fn install(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: Fold,
        group: &mut Group,
    ) -> Outcome {
        let head = self.heads.get_mut(keyspace);
        let Some(head) = head.filter(|head| head.epoch == epoch && head.seq == Seq(0)) else {
            return Outcome::Deposed;
        };
        head.revision = head.revision.max(piece.revision);
        let mark = Mark { seq: head.seq, revision: piece.revision, compacted: piece.compacted };
        // A piece is as large as its caller made it: one for each group.
        group.bytes += GROUP_BYTES_MAX;
        self.disk.write_fold(&mut group.write, head.id, piece);
        group.write.insert(&self.disk.log, mark_key(head.id), mark.encode());
        group.write.insert(&self.disk.log, head_key(keyspace), head.encode());
        Outcome::Committed
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

impl Group {
    fn new(disk: &Disk) -> Group {
        // Data is enough: what a sync of the file's times would add is not
        // needed to read it again (fdatasync(2)).
        let write = disk.db.batch().durability(Some(PersistMode::SyncData));
        Group { write, bytes: 0, batches: 0, answers: Vec::new() }
    }

    #[allow(clippy::disallowed_methods, reason = "measures a sync; decides nothing")]
    fn commit(self, disk: &Disk) {
        if !self.write.is_empty() {
            let start = Instant::now();
            if let Err(error) = self.write.commit() {
                end_process(&error);
            }
            let took: Duration = start.elapsed();
            disk.counters.synced(self.batches, took);
        }
        for answer in self.answers {
            // Whoever no longer waits has no use for the answer.
            match answer {
                Answer::Append(to, outcome) => drop(to.send(outcome)),
                Answer::Raise(to, raised) => drop(to.send(raised)),
            }
        }
    }
}

/// After a failed write or sync nobody can say what is on disk: a retry can
/// report success for pages the kernel has dropped.
pub(super) fn end_process(error: &fjall::Error) -> ! {
    tracing::error!(%error, "the store's log could not be written; ending the process");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;
    use crate::Batch;

    #[tokio::test]
    async fn what_was_handed_over_and_not_answered_is_unknown() {
        let (requests, mut queue) = mpsc::channel(1);
        let committer = Committer { requests: Some(requests), thread: None };
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
            (committer.append(name.clone(), batch).await, committer.raise(name, Epoch(1)).await)
        };
        let (queue, (appended, raised)) = tokio::join!(dropping, asking);
        assert!(matches!(appended, Ok(Outcome::Unknown)), "{appended:?}");
        assert!(matches!(raised, Ok(Raised::Unknown)), "{raised:?}");

        drop(queue);
        let refused = committer.raise(KeyspaceName::default(), Epoch(1)).await;
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
