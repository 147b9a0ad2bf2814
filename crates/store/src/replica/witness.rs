//! Asking the other replicas what they remember.
//!
//! Who is new, or was looking away when the newest was written, finds nothing
//! missing in a database that came back older. Those who saw it do, so they are
//! asked: by a replica that starts, before it serves anything, and by one that
//! claims a keyspace, before it leads. Who cannot be reached is not waited for
//! long, or one lost machine would stop the others.

use std::{collections::BTreeSet, time::Duration};

use engine::{Board, Replica};
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tonic::body::Body;

use super::Memory;
use crate::transport::Transport;

/// Where a replica tells it, as text.
pub(crate) const PAGE: &str = "/polis/memory";

/// Enough for a first connection with TLS, and little beside the second and a
/// bit that a takeover takes: a machine that is lost answers nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// A line for each keyspace, of a hundred bytes or so.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What those on the board tell in time.
pub(super) async fn ask(transport: &dyn Transport, board: &Board, me: &Replica) -> Vec<Memory> {
    let others = board.replicas.iter().filter_map(|replica| replica.urls.first());
    // A row at our own address is of a life before this one.
    let others: BTreeSet<&String> = others.filter(|url| !me.urls.contains(url)).collect();
    let answers = others.into_iter().map(|url| async move {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, tell(transport, url)).await;
        let memory = answer.ok().flatten();
        if memory.is_none() {
            tracing::debug!(url, "did not tell what it remembers");
        }
        memory
    });
    join_all(answers).await.into_iter().flatten().collect()
}

async fn tell(transport: &dyn Transport, url: &str) -> Option<Memory> {
    let request = Request::get(PAGE).body(Body::empty()).ok()?;
    let answer = transport.carry(url, request).await.ok()?;
    // A replica of the release before knows no such page.
    if answer.status() != StatusCode::OK {
        return None;
    }
    let text = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
    Memory::parse(std::str::from_utf8(&text).ok()?)
}
