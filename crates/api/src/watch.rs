//! A client's watch: what it is shown of a stream of changes, as frames.
//!
//! Frames go through a short bounded queue; a client that does not read it for
//! [`SLOW`] is cut and comes back from the last version it saw.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use rt::{Drain, random::Random};
use schema::proto;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    answer,
    failure::Failure,
    object,
    registry::{
        Item,
        watch::{Before, Change, Moment, Opening},
    },
    request::{
        accept::{Encoding, Shape},
        options::WatchOptions,
    },
    resource::{Origin, Resource},
    table::{self, Table},
};

/// Frames waiting for a client that reads slowly.
pub const FRAMES_MAX: usize = 64;

/// How long a full queue is waited for.
const SLOW: Duration = Duration::from_secs(10);

/// How often an idle watch says how far it is, as kube-apiserver does.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// However long a client asks for: ended watches spread over replicas again.
const TIMEOUT_MAX_S: u64 = 3600;

/// Tells clients that the objects that were there at the start have all come.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How objects are written into frames.
pub struct View {
    resource: Arc<Resource>,
    shape: Shape,
    table: Table,
    headers: bool,
    encoding: Encoding,
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
    pub fn new(resource: Arc<Resource>, shape: Shape, table: Table) -> View {
        View { resource, shape, table, headers: true, encoding: Encoding::Json }
    }

    /// In the first of `wanted` that its objects have a form in.
    pub fn encoded(self, wanted: &[Encoding]) -> View {
        let kinds = matches!(self.resource.origin, Origin::Builtin(_));
        let has = |encoding: &&Encoding| match encoding {
            Encoding::Json => true,
            Encoding::Yaml => false,
            Encoding::Protobuf => kinds || self.shape == Shape::Partial,
        };
        let encoding = wanted.iter().find(has).copied().unwrap_or(Encoding::Json);
        View { encoding, ..self }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
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
            Shape::Table => self.table.bookmark(metadata, initial_end),
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
        for item in initial {
            let version = item.version().unwrap_or(version);
            self.tell("ADDED", &item, version).await?;
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
                    Some(Ok(Moment::Change(change))) => self.change(*change).await?,
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
        let min_s = self.options.timeout_min.as_secs().max(1);
        match self.options.timeout_s {
            Some(seconds) => Duration::from_secs(seconds.clamp(1, TIMEOUT_MAX_S)),
            None => Duration::from_secs(min_s + Random::from_entropy().below(min_s)),
        }
    }

    fn selects(&self, item: &Item) -> bool {
        // What cannot be read is told to nobody.
        let WatchOptions { labels, fields, .. } = &self.options;
        item.matches(&self.view.resource, labels, fields).unwrap_or(false)
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
            Before::Object(item) => self.selects(item),
        };
        match (now, before) {
            (Some(item), _) if self.selects(&item) => {
                self.tell(if was { "MODIFIED" } else { "ADDED" }, &item, version).await
            }
            // As it was when it was still selected.
            (Some(_) | None, Before::Object(item)) if was => {
                self.tell("DELETED", &item, version).await
            }
            _ => Ok(()),
        }
    }

    async fn tell(&mut self, event: &str, item: &Item, version: u64) -> Result<(), Over> {
        let mut frame = open_frame(event, item.len());
        let written = match self.view.shape {
            Shape::Object => item.write_at(&self.view.resource, version, &mut frame),
            _ => item.object(&self.view.resource).and_then(|mut object| {
                object::set_version(&mut object, version);
                let shown = self.view.show(object);
                serde_json::to_writer(&mut frame, &shown)
                    .map_err(|_| Failure::internal("an object without a form"))
            }),
        };
        match written {
            Ok(()) => self.push(event, frame).await,
            Err(failure) => {
                self.fail(&failure).await?;
                Err(Over)
            }
        }
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
        let mut frame = open_frame(event, 512);
        serde_json::to_writer(&mut frame, object).map_err(|_| Over)?;
        self.push(event, frame).await
    }

    /// Ends the frame and gives it to the client.
    async fn push(&mut self, event: &str, mut frame: Vec<u8>) -> Result<(), Over> {
        match self.view.encoding {
            Encoding::Protobuf => {
                let object = frame.get(open_frame(event, 0).len()..).ok_or(Over)?;
                let sealed = answer::protobuf(object).map_err(|_| Over)?.ok_or(Over)?;
                frame = proto::frame(event, &sealed);
            }
            Encoding::Json | Encoding::Yaml => frame.extend_from_slice(b"}\n"),
        }
        self.frames.send_timeout(frame.into(), SLOW).await.map_err(|error| {
            if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                tracing::info!(kind = &*self.view.resource.kind, "slow watcher cut");
            }
            Over
        })
    }
}

fn open_frame(event: &str, len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len + 64);
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(event.as_bytes());
    frame.extend_from_slice(b"\",\"object\":");
    frame
}
