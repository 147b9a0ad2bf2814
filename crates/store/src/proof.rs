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
