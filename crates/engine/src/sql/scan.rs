//! Feeding whoever scans, and keeping the moment while he is slow.

use std::time::Duration;

use tokio::time::sleep;

use super::{Failure, pool::Session, walk::Walk};
use crate::{
    Scan,
    scan::{Abandoned, Pieces},
};

/// Well within the time after which servers take a transaction for dead whose
/// client says nothing; they wait five seconds, because we tell them to.
const STAY_EVERY: Duration = Duration::from_secs(1);

/// Why a scan ended early.
enum Stop {
    Abandoned,
    Failed(Failure),
}

/// Of a keyspace whose moment has begun on this session.
pub(super) fn start(session: Session, walk: Walk) -> Scan {
    let (pieces, scan) = Scan::new(walk.head());
    // It ends with its reader.
    rt::spawn(rt::TaskKind::Connection, "scan", feed(session, walk, pieces));
    scan
}

async fn feed(mut session: Session, mut walk: Walk, pieces: Pieces) {
    match feed_all(&mut session, &mut walk, &pieces).await {
        Ok(()) => {
            session.keep();
            pieces.end_soon(Ok(())).await;
        }
        // The session is closed, and the moment ends with it.
        Err(Stop::Abandoned) => {}
        Err(Stop::Failed(failure)) => pieces.end_soon(Err(failure.into())).await,
    }
}

async fn feed_all(session: &mut Session, walk: &mut Walk, pieces: &Pieces) -> Result<(), Stop> {
    while let Some(piece) = walk.next(&mut **session).await? {
        loop {
            tokio::select! {
                room = pieces.room() => break room?.fill(piece),
                () = sleep(STAY_EVERY) => session.stay().await?,
            }
        }
    }
    Ok(())
}

// === impl Stop ===

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Abandoned> for Stop {
    fn from(_: Abandoned) -> Stop {
        Stop::Abandoned
    }
}
