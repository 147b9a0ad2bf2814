//! Looks up some of what was acknowledged while the load goes on, so that a loss
//! is known when it happens and not at the end. The proof is the check of every
//! payment at the end; this only ends a drill that does damage.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use rt::TaskKind;
use tokio::{sync::mpsc, time::sleep};

use crate::{Config, edge::Edges};

/// Of so many payments one is looked up: few readings beside the writes, and a
/// second's worth of any loss is seen.
pub(crate) const ONE_OF: usize = 20;

/// Between two looks: a replica that is read may be that far behind.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So often in a row it must be said that there is no such payment.
const ABSENT_MAX: u32 = 4;
/// Whoever does not answer for so long proves nothing.
const LOOKS_MAX: usize = 60;

pub(crate) fn look_up(edges: Arc<Edges>, id: String, missing: mpsc::Sender<String>) {
    rt::spawn(TaskKind::Connection, "witness", async move {
        let (path, mut absent) = (format!("/v1/payments/{id}"), 0);
        for look in 0..LOOKS_MAX {
            sleep(LOOK_EVERY).await;
            let edge = edges.choose(look, 0);
            let limit = Config::TRY_TIMEOUT;
            let answer = edges.send(edge, Method::GET, &path, &[], Bytes::new(), limit).await;
            match answer.map(|answer| answer.status) {
                Ok(200) => return,
                Ok(404) => absent += 1,
                Ok(_) | Err(_) => absent = 0,
            }
            if absent >= ABSENT_MAX {
                // One that waits to be heard is enough.
                let _ = missing.try_send(id);
                return;
            }
        }
    });
}
