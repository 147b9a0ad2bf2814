//! Writing down what we see of the other centers: our own Center's
//! `status.observations`, only when it differs from what stands there.
//!
//! A merge patch of these fields alone, so that it never conflicts with the
//! leader, who writes `phase` beside them.

use std::time::Duration;

use client::{Door, Objects};
use resources::Center;
use rt::{backoff::Backoff, random::Random};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use topology::CenterName;

use crate::{center::Seen, picture::Picture};

/// A report that is late delays a failover, so the first retry is quick.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long our own watch may need to show what we wrote, before we write it
/// again.
const SETTLE: Duration = Duration::from_millis(500);

pub struct Observations {
    centers: Objects<Center>,
    me: CenterName,
    observer: String,
    picture: Picture,
    seen: watch::Receiver<Seen>,
}

// === impl Observations ===

impl Observations {
    /// `observer` names this start of the process.
    pub fn new(
        federation: &Door,
        me: CenterName,
        observer: String,
        picture: Picture,
        seen: watch::Receiver<Seen>,
    ) -> Observations {
        Observations { centers: federation.all(), me, observer, picture, seen }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        let mut written: Option<Seen> = None;
        loop {
            let seen = self.seen.borrow_and_update().clone();
            let patch = self.patch(&seen);
            let settled = written.as_ref() == Some(&seen);
            let pause = match patch {
                None => {
                    written = None;
                    None
                }
                Some(_) if settled => {
                    written = None;
                    Some(SETTLE)
                }
                Some(patch) => match self.centers.patch_status(self.me.as_str(), &patch).await {
                    Ok(_) => {
                        backoff.reset();
                        written = Some(seen);
                        continue;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "write observations");
                        Some(backoff.step())
                    }
                },
            };
            self.wait(pause).await;
        }
    }

    async fn wait(&mut self, pause: Option<Duration>) {
        let paused = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Ends with the watchman, and then so do we.
            _ = self.seen.changed() => {}
            () = self.picture.changed(), if pause.is_none() => {}
            () = paused => {}
        }
    }

    /// None while our Center does not exist or says what we would say.
    fn patch(&self, seen: &Seen) -> Option<Value> {
        let center = self.picture.center(&self.me)?;
        let status = &center.status;
        if status.observer == self.observer && status.observations == *seen {
            return None;
        }
        let mut observations = Map::new();
        for center in status.observations.keys() {
            observations.insert(center.to_string(), Value::Null);
        }
        for (center, seen) in seen {
            observations.insert(center.to_string(), json!(seen));
        }
        let status = json!({ "observer": self.observer, "observations": observations });
        Some(json!({ "status": status }))
    }
}
