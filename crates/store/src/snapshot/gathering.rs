//! A history gathered, and worked on, where it may block.

use std::sync::Arc;

use engine::Engine;
use kv::KeyspaceName;
use tokio::task::spawn_blocking;

use super::{History, Scratch, history::HistoryError};

/// Work on a history, about to begin.
pub(crate) struct Gathering {
    pub engine: Arc<dyn Engine>,
    pub scratch: Scratch,
    pub keyspace: KeyspaceName,
}

// === impl Gathering ===

impl Gathering {
    /// Waits for its turn, gathers the history, and does `work` on it. The turn
    /// ends with the work.
    pub async fn then<T, E>(
        self,
        work: impl FnOnce(&History, &Scratch) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<HistoryError> + Send + 'static,
    {
        let turn = self.scratch.turn().await;
        let scan = self.engine.scan(&self.keyspace).await.map_err(HistoryError::Engine)?;
        let scratch = self.scratch;
        let done = spawn_blocking(move || {
            let _turn = turn;
            let history = History::gather(scan, &scratch)?;
            work(&history, &scratch)
        });
        done.await.unwrap_or_else(|_| Err(HistoryError::Ended.into()))
    }
}
