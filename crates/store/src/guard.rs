//! What the face knows of a keyspace's users: as much as is durable.
//!
//! Written by the actor; a keyspace that is not loaded yet has told nothing,
//! and then nobody can be let in.

use std::{sync::Arc, time::Duration};

use keyspace::auth::Auth;
use kv::{Error, KeyspaceName};
use rt::Clock;
use tokio::sync::watch;

use crate::token::Tokens;

/// As long as a keyspace takes to change its leader.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Guard {
    auth: watch::Sender<Option<Arc<Auth>>>,
    pub tokens: Tokens,
}

// === impl Guard ===

impl Guard {
    pub fn new(keyspace: KeyspaceName, token_ttl: Duration, clock: Clock) -> Guard {
        let tokens = Tokens::new(keyspace, token_ttl, clock);
        Guard { auth: watch::Sender::new(None), tokens }
    }

    /// Before anyone is shown what became durable with it.
    pub fn publish(&self, auth: &Arc<Auth>) {
        self.auth.send_if_modified(|published| {
            let same = published.as_ref().is_some_and(|known| Arc::ptr_eq(known, auth));
            if !same {
                *published = Some(auth.clone());
            }
            !same
        });
    }

    pub fn auth(&self) -> Option<Arc<Auth>> {
        self.auth.borrow().clone()
    }

    /// Waits for a keyspace that is not loaded yet, within reason.
    pub async fn loaded(&self) -> Result<Arc<Auth>, Error> {
        let mut changes = self.changes();
        let loaded = changes.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, loaded).await {
            Ok(Ok(auth)) => Ok(auth.clone().expect("it was waited for")),
            Ok(Err(_)) | Err(_) => Err(Error::NotLeader),
        }
    }

    pub fn changes(&self) -> watch::Receiver<Option<Arc<Auth>>> {
        self.auth.subscribe()
    }
}
