//! The source's changes after a copy, in their order.

use std::{pin::Pin, time::Duration};

use futures::StreamExt as _;
use kv::{
    EventKind, KeyRange, Kv, Op, PutRequest, RangeRequest, Revision, WatchItem, WatchRequest,
};

use super::{Follow, ImportError, Progress, copy::delete, leases::Leases, write::Writer};

/// Between two looks at whether all is in, and at the leases.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Following<'a> {
    pub from: &'a dyn Kv,
    pub to: &'a dyn Kv,
    pub range: &'a KeyRange,
    pub until: Follow,
}

// === impl Following ===

impl Following<'_> {
    pub async fn run(
        self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        leases: &mut Leases,
        progress: &mut Progress,
        told: &mut impl FnMut(&Progress),
    ) -> Result<(), ImportError> {
        progress.following = true;
        let request = WatchRequest {
            start: Some(progress.revision.next()),
            ..WatchRequest::new(self.range.clone())
        };
        let mut watch = self.from.watch(request).await.map_err(ImportError::Source)?;
        let mut writer = Writer::new(self.to);
        // Where the source stood when it was last asked; to be reached.
        let mut goal: Option<Revision> = None;
        loop {
            let item = tokio::select! {
                biased;
                () = stop.as_mut() => return Ok(()),
                item = tokio::time::timeout(LOOK_EVERY, watch.next()) => item,
            };
            match item {
                Ok(Some(Ok(WatchItem::Events(batch)))) => {
                    for event in batch.events {
                        let kv = event.kv;
                        let op = match event.kind {
                            EventKind::Delete => delete(kv.key),
                            EventKind::Put => {
                                let mut lease = kv.lease;
                                if let Some(id) = lease
                                    && !leases.ensure(self.from, self.to, id).await?
                                {
                                    lease = None;
                                }
                                Op::Put(PutRequest { lease, ..PutRequest::new(kv.key, kv.value) })
                            }
                        };
                        writer.add(op).await?;
                        progress.followed += 1;
                    }
                    // Durable before it counts.
                    writer.flush().await?;
                    progress.revision = batch.revision;
                }
                Ok(Some(Ok(WatchItem::Progress { revision }))) => {
                    progress.revision = progress.revision.max(revision);
                }
                Ok(Some(Ok(WatchItem::Created { .. }))) => {}
                Ok(Some(Err(error))) => return Err(ImportError::Source(error)),
                Ok(None) => return Err(ImportError::WatchEnded(progress.revision)),
                // Nothing came for a while: a good moment to look around.
                Err(_) => {
                    let head = self.head().await?;
                    if goal == Some(head) {
                        // It was silent for a whole look, so nothing is under way.
                        progress.revision = progress.revision.max(head);
                    }
                    goal = Some(head);
                }
            }
            leases.keep_up(self.from, self.to).await?;
            told(progress);
            let reached = goal.is_some_and(|goal| progress.revision >= goal);
            if self.until == Follow::UntilCaughtUp && reached {
                return Ok(());
            }
        }
    }

    /// Where the source stands.
    async fn head(&self) -> Result<Revision, ImportError> {
        let request = RangeRequest { count_only: true, ..RangeRequest::new(self.range.clone()) };
        Ok(self.from.range(request).await.map_err(ImportError::Source)?.revision)
    }
}
