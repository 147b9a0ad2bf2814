//! `/v1/shards/NN`: what a checker outside needs, as of one revision.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use topology::{BucketRange, Shard};

use super::{
    AnswerBody, Service,
    answer::{self, About, BoxError, of_shard},
    payments::{LegView, PaymentView},
    request::{Context, query},
};
use crate::{
    Books, Error, IdempotencyKey, Mark, PaymentId, payment::Payment, read::payment_id, scan::Scan,
};

/// A chunk of an export: large enough that the frame costs nothing, small
/// enough that four of them cost nothing.
const CHUNK_BYTES: usize = 32 * 1024;

/// Longest wait for one chunk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest export, so that readers who stop reading cannot keep others out. A
/// reader that needs more goes on with `after`.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Longest audit of one shard.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(60);

const REVISION_HEADER: HeaderName = HeaderName::from_static("polis-revision");

/// One line of an export.
#[derive(Serialize)]
struct ExportLine {
    #[serde(flatten)]
    payment: PaymentView,
    #[serde(skip_serializing_if = "String::is_empty")]
    mark: String,
    /// The revision that committed it: the order of commits.
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    debit: Option<LegView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<LegView>,
}

/// The last line: an export without it is not whole.
#[derive(Serialize)]
struct ExportEnd {
    end: bool,
    /// All that the shard has by the map of who asked.
    buckets: BucketRange,
    revision: u64,
    lines: u64,
}

struct Export {
    books: Books,
    scan: Scan,
    about: About,
    revision: u64,
    mark: Option<Mark>,
    /// Only keys that start with this.
    keys: Option<IdempotencyKey>,
    lines: u64,
    done: bool,
    walk: Walk,
}

/// The right to walk a shard, for a limited time. A task takes it back: a body
/// that is never polled could not see that its time is up.
struct Walk {
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    end: AbortHandle,
}

pub async fn payments(
    service: &Service,
    context: &mut Context,
    shard: Shard,
    uri: &Uri,
) -> Result<Response<AnswerBody>, Error> {
    let [mark, keys, after] = query(uri, ["mark", "keys", "after"])?;
    let mark = mark.map(str::parse).transpose()?;
    let keys = keys.map(str::parse).transpose()?;
    let after = after.map(str::parse).transpose()?;
    let books = service.books();
    let about = context.about_shard(books, shard).await?;
    let permit = service.walks().clone().try_acquire_owned().map_err(|_| Error::Busy)?;
    let (scan, revision) = books.export(about.extent, after.as_ref(), context.deadline).await?;
    let revision = revision.0;
    let (books, lines, done) = (books.clone(), 0, false);
    let walk = Walk::start(permit);
    let export = Export { books, scan, about, revision, mark, keys, lines, done, walk };
    let chunks = stream::try_unfold(export, |mut export| async move {
        let chunk = timeout(CHUNK_TIMEOUT, export.chunk()).await.map_err(|_| Error::Deadline)??;
        Ok::<_, BoxError>(chunk.map(|chunk| (Frame::data(chunk), export)))
    });
    let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
    answer::stamp(&mut response, service.books(), Some(about));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(REVISION_HEADER, HeaderValue::from(revision));
    Ok(response)
}

pub async fn audit(
    service: &Service,
    context: &mut Context,
    shard: Shard,
) -> Result<Response<AnswerBody>, Error> {
    let books = service.books();
    let about = context.about_shard(books, shard).await?;
    let _permit = service.walks().try_acquire().map_err(|_| Error::Busy)?;
    let audit = books.audit(about.extent, Instant::now() + AUDIT_TIMEOUT).await?;
    Ok(of_shard(StatusCode::OK, &audit, books, about))
}

// === impl Export ===

impl Export {
    /// The next lines; none after the last.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        if self.walk.is_over() {
            return Err(Error::Deadline);
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        while chunk.len() < CHUNK_BYTES {
            let Some(row) = self.scan.next(self.books.database()).await? else {
                self.done = true;
                let Export { about, revision, lines, .. } = *self;
                let end = ExportEnd { end: true, buckets: about.extent.buckets, revision, lines };
                push_line(&mut chunk, &end);
                break;
            };
            let (id, payment) = (payment_id(&row.key)?, Payment::decode(&row.value)?);
            if !self.wants(&id, &payment) {
                continue;
            }
            let (debit, credit) = match &payment {
                Payment::Committed(payment) => {
                    (Some(payment.debit.into()), Some(payment.credit.into()))
                }
                Payment::Cancelled(_) => (None, None),
            };
            let line = ExportLine {
                payment: PaymentView::new(&id, &payment, self.about),
                mark: payment.mark().to_string(),
                revision: row.committed.0,
                debit,
                credit,
            };
            push_line(&mut chunk, &line);
            self.lines += 1;
        }
        Ok(Some(chunk.into()))
    }

    fn wants(&self, id: &PaymentId, payment: &Payment) -> bool {
        self.mark.as_ref().is_none_or(|mark| mark == payment.mark())
            && self.keys.as_ref().is_none_or(|keys| id.key.as_str().starts_with(keys.as_str()))
    }
}

// === impl Walk ===

impl Walk {
    /// Lasts until it is dropped, or [`EXPORT_TIMEOUT`] has passed.
    fn start(permit: OwnedSemaphorePermit) -> Walk {
        let permit = Arc::new(Mutex::new(Some(permit)));
        let held = permit.clone();
        let end = rt::spawn(rt::TaskKind::Connection, "export limit", async move {
            sleep(EXPORT_TIMEOUT).await;
            held.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Walk { permit, end: end.abort_handle() }
    }

    fn is_over(&self) -> bool {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.end.abort();
        // The task ends in its own time; the next walk need not wait for that.
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn push_line<T: Serialize>(chunk: &mut Vec<u8>, line: &T) {
    serde_json::to_writer(&mut *chunk, line).expect("our own shapes fit, and a Vec takes them");
    chunk.push(b'\n');
}
