//! A client's watch: what it is shown of a stream of changes, as frames.
//!
//! Frames go through a short bounded queue; a client that does not read it for
//! [`SLOW`] is cut and comes back from the last version it saw.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use rt::{Drain, random::Random};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    failure::Failure,
    object,
    registry::watch::{Before, Change, Moment, Opening},
    request::{accept::Shape, options::WatchOptions},
    resource::Resource,
    table::{self, Table},
};

/// Frames waiting for a client that reads slowly.
pub const FRAMES_MAX: usize = 64;

/// How long a full queue is waited for.
const SLOW: Duration = Duration::from_secs(10);

/// How often an idle watch says how far it is, as kube-apiserver does.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Watches that name no timeout end between one and two times this, so that
/// clients spread over replicas again.
const TIMEOUT_MIN_S: u64 = 1800;

/// Tells clients that the objects that were there at the start have all come.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How objects are written into frames.
pub struct View {
    resource: &'static Resource,
    shape: Shape,
    table: Table,
    headers: bool,
}

pub struct Session {
    pub options: WatchOptions,
    pub view: View,
    pub frames: mpsc::Sender<Bytes>,
    /// The last version told, or known to need no telling.
    version: u64,
}

/// The watch is over; nobody is to be told why.
struct Over;

// === impl View ===

impl View {
    pub fn new(resource: &'static Resource, shape: Shape, table: Table) -> View {
        View { resource, shape, table, headers: true }
    }

    fn show(&mut self, object: Value) -> Value {
        match self.shape {
            Shape::Object => object,
            Shape::Partial => table::partial(object),
            Shape::Table => {
                let metadata = json!({
                    "resourceVersion": object["metadata"]["resourceVersion"],
                });
                let headers = std::mem::take(&mut self.headers);
                self.table.show(metadata, vec![object], headers)
            }
        }
    }

    fn bookmark(&self, version: u64, initial_end: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
        }
        match self.shape {
            Shape::Object => json!({
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
            }),
            Shape::Partial => table::partial(json!({ "metadata": metadata })),
            Shape::Table => self.table.show(metadata, Vec::new(), false),
        }
    }
}

// === impl Session ===

impl Session {
    pub fn new(options: WatchOptions, view: View, frames: mpsc::Sender<Bytes>) -> Session {
        Session { options, view, frames, version: 0 }
    }

    /// Runs until the client goes, the time is over, or the source ends.
    pub async fn run(mut self, opening: Opening, drain: Drain) {
        // Whatever ends it, the client sees the end of the stream.
        let _ = self.serve(opening, &drain).await;
    }

    async fn serve(&mut self, opening: Opening, drain: &Drain) -> Result<(), Over> {
        let Opening { initial, version, mut moments } = opening;
        self.version = version;
        for object in initial {
            self.tell("ADDED", object).await?;
        }
        if self.options.initial_events == Some(true) && self.options.bookmarks {
            self.bookmark(true).await?;
        }
        let deadline = Instant::now() + self.timeout();
        let frames = self.frames.clone();
        let mut bookmark_at = Instant::now() + BOOKMARK_EVERY;
        loop {
            tokio::select! {
                moment = moments.next() => match moment {
                    Some(Ok(Moment::Change(change))) => self.change(change).await?,
                    Some(Ok(Moment::Reached(version))) => self.version = self.version.max(version),
                    Some(Err(failure)) => return self.fail(&failure).await,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(bookmark_at), if self.options.bookmarks => {
                    self.bookmark(false).await?;
                    bookmark_at = Instant::now() + BOOKMARK_EVERY;
                }
                () = tokio::time::sleep_until(deadline) => break,
                () = drain.started() => break,
                () = frames.closed() => return Ok(()),
            }
        }
        if self.options.bookmarks {
            self.bookmark(false).await?;
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let seconds = self
            .options
            .timeout_s
            .unwrap_or_else(|| TIMEOUT_MIN_S + Random::from_entropy().below(TIMEOUT_MIN_S));
        Duration::from_secs(seconds.clamp(1, 2 * TIMEOUT_MIN_S))
    }

    fn selects(&self, object: &Value) -> bool {
        self.options.labels.matches(object) && self.options.fields.matches(object)
    }

    /// An object that leaves the selection is deleted for this client, one
    /// that enters it is added.
    async fn change(&mut self, change: Change) -> Result<(), Over> {
        let Change { now, before, version } = change;
        // Changes of one revision share a version.
        if version < self.version {
            return Ok(());
        }
        self.version = version;
        let unselective = self.options.labels.is_empty() && self.options.fields.is_empty();
        let was = match &before {
            Before::Absent => false,
            Before::Unread => unselective,
            Before::Object(object) => self.selects(object),
        };
        match (now, before) {
            (Some(object), _) if self.selects(&object) => {
                self.tell(if was { "MODIFIED" } else { "ADDED" }, object).await
            }
            (Some(mut object), _) if was => {
                object::set_version(&mut object, version);
                self.tell("DELETED", object).await
            }
            (None, Before::Object(object)) if was => self.tell("DELETED", object).await,
            _ => Ok(()),
        }
    }

    async fn tell(&mut self, event: &str, object: Value) -> Result<(), Over> {
        let object = self.view.show(object);
        self.send(event, &object).await
    }

    async fn bookmark(&mut self, initial_end: bool) -> Result<(), Over> {
        let object = self.view.bookmark(self.version, initial_end);
        self.send("BOOKMARK", &object).await
    }

    /// Only a version that is gone is worth telling: anything else is mended
    /// by watching again.
    async fn fail(&mut self, failure: &Failure) -> Result<(), Over> {
        match failure.code() {
            http::StatusCode::GONE | http::StatusCode::INTERNAL_SERVER_ERROR => {
                self.send("ERROR", &failure.to_value()).await
            }
            _ => Ok(()),
        }
    }

    async fn send(&mut self, event: &str, object: &Value) -> Result<(), Over> {
        let mut frame = Vec::with_capacity(512);
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(event.as_bytes());
        frame.extend_from_slice(b"\",\"object\":");
        serde_json::to_writer(&mut frame, object).map_err(|_| Over)?;
        frame.extend_from_slice(b"}\n");
        self.frames.send_timeout(frame.into(), SLOW).await.map_err(|error| {
            if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                tracing::info!(kind = self.view.resource.kind, "slow watcher cut");
            }
            Over
        })
    }
}
