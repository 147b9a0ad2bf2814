//! One fenced transaction: read what is needed, decide, write if nothing moved.
//!
//! Every writing transaction compares the fence row of its bucket and the
//! revision of every row it was decided on, so a decision is applied to exactly
//! the state it was made from or not at all. The usual payment costs one round
//! trip: rows come from the lane's cache, and a failed compare brings the
//! present rows back in the same answer.
//!
//! When the answer to a write is lost we try again. That is safe: a second
//! commit needs the rows as the first found them, and the first changes them.
//! A later answer read from the store is conclusive for the same reason: once a
//! compared row has moved, the lost write can no longer happen. If the deadline
//! comes first, the outcome is said to be unknown, never guessed.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use kv::{Compare, CompareOp, CompareTarget, Kv, Op, OpResponse, Revision, Txn};
use rt::{backoff::Backoff, random::Random};
use tokio::time::{Instant, timeout_at};
use topology::{Bucket, UnitName};

use crate::{
    Error, account::Executed, desk::Desk, fence::Fence, lane::Lane, place, wall::UnixMillis,
};

/// Failed compares before a transaction gives up because its rows keep moving.
/// Within one process a bucket's writers queue, so only another writer of the
/// same bucket can cause them. (Failures of the store count against the
/// deadline instead.)
const MOVED_MAX: usize = 16;

/// First and longest wait after the store failed: short against a request's
/// deadline, long against a round trip.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(320);

/// A row that a decision needs.
#[derive(Clone, Debug)]
pub struct Need {
    pub key: Bytes,
    /// Rows nobody wrote before, such as a new payment's, need no look: the
    /// transaction itself proves that they are absent.
    pub expect_absent: bool,
}

/// A row as read: its bytes, if it exists, and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub value: Option<Bytes>,
    pub modified: Revision,
}

/// What to do, given the rows.
#[derive(Debug)]
pub enum Decision<A> {
    /// Nothing to write.
    Answer(A),
    /// Write these values; each index is that of a need.
    Write { puts: Vec<(usize, Bytes)>, answer: A },
}

/// A change of the books within one bucket. `decide` is pure.
pub trait Operation: Send + 'static {
    type Answer: Send + 'static;

    fn bucket(&self) -> Bucket;
    fn needs(&self) -> Vec<Need>;
    /// `rows` are those of `needs`, in order.
    fn decide(&self, rows: &[Row], by: Executed) -> Result<Decision<Self::Answer>, Error>;
}

/// Runs `operation` while its bucket's lane is held.
pub async fn transact<O: Operation>(
    kv: &dyn Kv,
    unit: &UnitName,
    desk: &Desk,
    lane: &mut Lane,
    operation: O,
    deadline: Instant,
) -> Result<O::Answer, Error> {
    let needs = operation.needs();
    let mut run = Run {
        kv,
        desk,
        fence_key: place::fence(operation.bucket()),
        needs: &needs,
        deadline,
        backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy()),
        maybe_applied: false,
    };
    let mut view = cached(desk, unit, lane, &needs);
    let mut moved = 0;
    while moved < MOVED_MAX {
        let View { rows, from_store } = match view.take() {
            Some(view) => view,
            None => View { rows: run.read(lane).await?, from_store: true },
        };
        // A write whose answer was lost may have come before the fence moved.
        let fence = desk.ours(unit).map_err(|error| run.gave_up(error))?;
        let by = Executed { unit: unit.clone(), epoch: fence.epoch, at: UnixMillis::now() };
        let (puts, answer) = match operation.decide(&rows, by) {
            Ok(Decision::Write { puts, answer }) => (puts, answer),
            // What is remembered may be old: only the store's word is final.
            Ok(Decision::Answer(_)) | Err(_) if !from_store => continue,
            Ok(Decision::Answer(answer)) => return Ok(answer),
            Err(error) => return Err(error),
        };
        match run.commit(&fence, &rows, &puts).await? {
            Commit::At(revision) => {
                for (index, value) in puts {
                    lane.keep(&needs[index], Row { value: Some(value), modified: revision });
                }
                return Ok(answer);
            }
            Commit::Moved(rows) => {
                moved += 1;
                lane.keep_all(&needs, &rows);
                view = Some(View { rows, from_store: true });
            }
            Commit::Unclear => {}
        }
    }
    Err(run.gave_up(Error::Contention))
}

struct View {
    rows: Vec<Row>,
    from_store: bool,
}

enum Commit {
    At(Revision),
    /// A compare failed; this is what is there instead.
    Moved(Vec<Row>),
    /// The store failed or fell silent; try again.
    Unclear,
}

struct Run<'a> {
    kv: &'a dyn Kv,
    desk: &'a Desk,
    fence_key: Bytes,
    needs: &'a [Need],
    deadline: Instant,
    backoff: Backoff,
    /// A write was sent and its answer is not known.
    maybe_applied: bool,
}

/// The rows as remembered, if all that must be known is.
fn cached(desk: &Desk, unit: &UnitName, lane: &Lane, needs: &[Need]) -> Option<View> {
    desk.ours(unit).ok()?;
    let row = |need: &Need| match need.expect_absent {
        true => Some(Row { value: None, modified: Revision::ZERO }),
        false => lane.get(&need.key),
    };
    let rows = needs.iter().map(row).collect::<Option<Vec<Row>>>()?;
    Some(View { rows, from_store: false })
}

// === impl Run ===

impl Run<'_> {
    /// Fence and rows at one revision.
    async fn read(&mut self, lane: &mut Lane) -> Result<Vec<Row>, Error> {
        loop {
            let txn = Txn::when(Vec::new()).then(self.gets());
            match self.in_time(self.kv.txn(txn)).await? {
                Ok(response) => {
                    let rows = self.learn(response.responses)?;
                    lane.keep_all(self.needs, &rows);
                    return Ok(rows);
                }
                Err(error) => self.wait(error).await?,
            }
        }
    }

    async fn commit(
        &mut self,
        fence: &Fence,
        rows: &[Row],
        puts: &[(usize, Bytes)],
    ) -> Result<Commit, Error> {
        let mut compares = vec![Compare::value_is(self.fence_key.clone(), fence.encode())];
        compares.extend(self.needs.iter().zip(rows).map(|(need, row)| {
            let target = CompareTarget::Mod(row.modified);
            Compare::new(need.key.clone(), CompareOp::Equal, target)
        }));
        let puts = puts
            .iter()
            .map(|(index, value)| Op::put(self.needs[*index].key.clone(), value.clone()));
        let txn = Txn::when(compares).then(puts.collect()).otherwise(self.gets());
        match timeout_at(self.deadline, self.kv.txn(txn)).await {
            Ok(Ok(response)) if response.succeeded => Ok(Commit::At(response.revision)),
            Ok(Ok(response)) => Ok(Commit::Moved(self.learn(response.responses)?)),
            Ok(Err(error)) => {
                self.maybe_applied |= !error.is_definite();
                self.wait(error).await?;
                Ok(Commit::Unclear)
            }
            Err(_) => {
                self.maybe_applied = true;
                Err(self.gave_up(Error::Deadline))
            }
        }
    }

    fn gets(&self) -> Vec<Op> {
        let keys = std::iter::once(&self.fence_key).chain(self.needs.iter().map(|need| &need.key));
        keys.map(|key| Op::get(key.clone())).collect()
    }

    /// Takes the fence to the desk and returns the rows.
    fn learn(&self, responses: Vec<OpResponse>) -> Result<Vec<Row>, Error> {
        let mut rows = responses.into_iter().map(|response| match response {
            OpResponse::Range(mut range) => Ok(match range.kvs.pop() {
                Some(kv) => Row { value: Some(kv.value), modified: kv.mod_revision },
                None => Row { value: None, modified: Revision::ZERO },
            }),
            _ => Err(Error::store("a read was not answered as one")),
        });
        let fence = rows.next().ok_or_else(|| Error::store("an empty answer"))??;
        self.desk.learn(fence.value.as_deref().map(Fence::decode).transpose()?);
        let rows = rows.collect::<Result<Vec<Row>, Error>>()?;
        if rows.len() == self.needs.len() { Ok(rows) } else { Err(Error::store("a short answer")) }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        timeout_at(self.deadline, work).await.map_err(|_| self.gave_up(Error::Deadline))
    }

    /// Waits before another try, or says why there will be none.
    async fn wait(&mut self, error: kv::Error) -> Result<(), Error> {
        let passing = matches!(
            error,
            kv::Error::NotLeader
                | kv::Error::Unreachable(_)
                | kv::Error::TooManyRequests
                | kv::Error::Unknown(_)
                | kv::Error::Other(_)
        );
        let pause = self.backoff.step();
        if !passing || Instant::now() + pause >= self.deadline {
            return Err(self.gave_up(Error::Store(error)));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// `error` says "not applied"; that is only true if nothing was sent.
    fn gave_up(&self, error: Error) -> Error {
        if self.maybe_applied { Error::OutcomeUnknown } else { error }
    }
}
