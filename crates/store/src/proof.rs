//! Answers from memory that are right only if nobody else has led meanwhile.
//!
//! While the lease lasts, they go out at once. Without it they wait for one
//! look at the log that begins after they were computed: if our epoch still
//! stood then, nobody had acknowledged anything that they do not know of. All
//! that gathers during one look shares the next.

use std::{pin::Pin, time::Duration};

use engine::{Epoch, Seq};
use kv::Error;

use crate::vault::Vault;

/// Like requests that wait for the actor itself.
const WAITING_MAX: usize = crate::actor::REQUESTS_MAX;

/// As long as clients of etcd wait for a read by default is 5 s; one that
/// takes longer than this finds no leader.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends the answer, or the error instead.
pub(crate) type Held = Box<dyn FnOnce(Option<Error>) + Send>;

#[derive(Default)]
pub(crate) struct Proof {
    waiting: Vec<Held>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    answers: Vec<Held>,
    look: Pin<Box<dyn Future<Output = Looked> + Send>>,
}

/// How far a leader's log is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Stands,
    /// Another epoch, or not all of our batches.
    Gone,
    Unseen,
}

// === impl Proof ===

impl Proof {
    pub fn hold(&mut self, vault: &Vault, at: At, answer: Held) {
        if self.waiting.len() >= WAITING_MAX {
            return answer(Some(Error::TooManyRequests));
        }
        self.waiting.push(answer);
        self.begin(vault, at);
    }

    fn begin(&mut self, vault: &Vault, at: At) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        let vault = vault.clone();
        let look = async move {
            match tokio::time::timeout(LOOK_TIMEOUT, vault.head()).await {
                Ok(Ok(Some(head))) if head.epoch == at.epoch && head.seq >= at.seq => {
                    Looked::Stands
                }
                Ok(Ok(_)) => Looked::Gone,
                Ok(Err(error)) => {
                    tracing::info!(keyspace = %vault.name(), %error, "reads not proven");
                    Looked::Unseen
                }
                Err(_) => Looked::Unseen,
            }
        };
        let answers = std::mem::take(&mut self.waiting);
        self.under_way = Some(UnderWay { answers, look: Box::pin(look) });
    }

    /// Resolves with the look that is under way; pending while there is none.
    pub async fn looked(&mut self) -> Looked {
        match &mut self.under_way {
            Some(under_way) => under_way.look.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// Sends what was waiting for the look that has ended.
    pub fn settle(&mut self, vault: &Vault, at: At, error: Option<&Error>) {
        let answers = self.under_way.take().map(|under_way| under_way.answers);
        for answer in answers.unwrap_or_default() {
            answer(error.cloned());
        }
        self.begin(vault, at);
    }

    /// We lead no more.
    pub fn refuse_all(&mut self) {
        let under_way = self.under_way.take().map(|under_way| under_way.answers);
        let waiting = std::mem::take(&mut self.waiting);
        for answer in under_way.into_iter().flatten().chain(waiting) {
            answer(Some(Error::NotLeader));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::{Batch, Engine as _, Memory, Outcome, Raised, ReplicaId};
    use kv::KeyspaceName;
    use tokio::sync::oneshot;

    use super::*;

    /// What becomes of an answer that a leader who stands at `at` holds back,
    /// over a log in which there is one batch, under epoch 1.
    async fn held(at: At) -> (Looked, Option<Error>) {
        let (engine, name) = (Memory::new(), KeyspaceName::default());
        let raised = engine.raise(&name, Epoch(0), ReplicaId(7)).await.expect("memory");
        assert_eq!(raised, Raised::Won(Epoch(1)));
        let batch = Batch { epoch: Epoch(1), seq: Seq(1), records: Vec::new() };
        assert_eq!(engine.append(&name, batch).await.expect("memory"), Outcome::Committed);
        let vault = Vault::new(Arc::new(engine), name);
        let mut proof = Proof::default();
        let (answer, mut answered) = oneshot::channel();
        proof.hold(&vault, at, Box::new(|error| drop(answer.send(error))));
        let looked = proof.looked().await;
        assert!(answered.try_recv().is_err(), "nothing goes out before the look is judged");
        match looked {
            Looked::Stands => proof.settle(&vault, at, None),
            Looked::Gone | Looked::Unseen => proof.refuse_all(),
        }
        (looked, answered.try_recv().expect("answered"))
    }

    #[tokio::test]
    async fn a_look_proves_a_read_only_if_it_shows_every_batch_that_was_made_durable() {
        let at = |epoch, seq| At { epoch: Epoch(epoch), seq: Seq(seq) };
        for (at, looked, answer) in [
            (at(1, 1), Looked::Stands, None),
            // Written, and not known to us yet.
            (at(1, 0), Looked::Stands, None),
            // Ours once, and lost: the database came back older, and under the
            // old epoch somebody else may lead.
            (at(1, 2), Looked::Gone, Some(Error::NotLeader)),
            (at(2, 1), Looked::Gone, Some(Error::NotLeader)),
            (at(0, 1), Looked::Gone, Some(Error::NotLeader)),
        ] {
            assert_eq!(held(at).await, (looked, answer), "{at:?}");
        }
    }
}
