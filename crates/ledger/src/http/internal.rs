//! `/internal/v1`: what controllers ask of an owner.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use topology::{BucketRange, Epoch, Extent, SHARDS_MAX, UnitName};

use super::{
    AnswerBody, Service,
    answer::{FenceView, json},
    request::{Context, body},
};
use crate::{
    Error,
    desk::{Desk, Standing},
    fence::Fence,
    raise::Raised,
};

/// Longest wait of a drain: beyond it the fence decides anyway.
const DRAIN_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FenceBody {
    unit: UnitName,
    shards: Vec<AtEpoch>,
}

/// A shard and the epoch of its move. Its buckets are those of the map that has
/// the intent: of the default layout unless they are said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AtEpoch {
    shard: String,
    epoch: u64,
    #[serde(default)]
    buckets: Option<BucketRange>,
}

#[derive(Default, Serialize)]
struct FenceAnswer {
    raised: Vec<FenceView>,
    refused: Vec<FenceView>,
    /// Not done and not refused: ask again.
    failed: Vec<FailedShard>,
}

#[derive(Serialize)]
struct FailedShard {
    shard: String,
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainBody {
    shards: Vec<AtEpoch>,
    deadline_ms: u64,
}

#[derive(Default, Serialize)]
struct DrainAnswer {
    /// No write of these is under way, nor will one be taken below the epoch.
    drained: Vec<DrainedShard>,
    /// Writes of these were still under way at the deadline.
    pending: Vec<DrainedShard>,
    failed: Vec<FailedShard>,
}

#[derive(Serialize)]
struct DrainedShard {
    shard: String,
    /// Writers waited for, and those still there.
    waited: usize,
    left: usize,
}

#[derive(Serialize)]
struct FencedAnswer {
    unit: String,
    shards: Vec<FencedShard>,
}

#[derive(Serialize)]
struct FencedShard {
    #[serde(flatten)]
    fence: FenceView,
    draining: bool,
}

pub async fn fence<B>(
    service: &Service,
    context: &Context,
    request: Request<B>,
) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let asked: FenceBody = body(request, context.deadline).await?;
    let books = service.books();
    if asked.unit != *books.unit() {
        let (we, they) = (books.unit(), asked.unit);
        return Err(Error::Request(format!("this is a ledger of {we}, not of {they}")));
    }
    let wanted = moves(&asked.shards)?;
    let mut answer = FenceAnswer::default();
    for (shard, raised) in books.raise_all(&wanted, context.deadline).await {
        match raised {
            Ok(Raised::Ours(fence)) => answer.raised.push(FenceView::new(&shard, &fence)),
            Ok(Raised::Refused(fence)) => answer.refused.push(FenceView::new(&shard, &fence)),
            Err(error) => answer.failed.push(FailedShard::new(&shard, &error)),
        }
    }
    let (raised, refused) = (answer.raised.len(), answer.refused.len());
    tracing::info!(raised, refused, failed = answer.failed.len(), "raised fences");
    Ok(json(StatusCode::OK, &answer))
}

pub async fn drain<B>(service: &Service, request: Request<B>) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let started = Instant::now();
    let asked: DrainBody = body(request, started + DRAIN_MAX).await?;
    let deadline = started + Duration::from_millis(asked.deadline_ms).min(DRAIN_MAX);
    let moving = moves(&asked.shards)?;
    let books = service.books();
    let drains = moving
        .iter()
        .map(|(shard, epoch)| async { (*shard, books.drain(*shard, *epoch, deadline).await) });
    let mut answer = DrainAnswer::default();
    for (shard, drained) in join_all(drains).await {
        match drained {
            Ok(drained) => {
                let (waited, left) = (drained.busy, drained.left);
                let list = if left == 0 { &mut answer.drained } else { &mut answer.pending };
                list.push(DrainedShard { shard: shard.shard.to_string(), waited, left });
            }
            Err(error) => answer.failed.push(FailedShard::new(&shard, &error)),
        }
    }
    Ok(json(StatusCode::OK, &answer))
}

/// The fences this process knows, ours and others'. What a shard is it does not
/// know: buckets of one hundred that stand alike share a row.
pub fn fenced(service: &Service) -> Response<AnswerBody> {
    let books = service.books();
    let known = |desk: &Desk| match desk.standing() {
        Standing::Known(fence) => Some((desk.bucket(), fence, desk.open().is_err())),
        Standing::Unseen | Standing::NeverRaised => None,
    };
    let mut rows: Vec<(BucketRange, Fence, bool)> = Vec::new();
    for (bucket, fence, draining) in books.desks().filter_map(known) {
        let alike = rows.last_mut().filter(|(range, before, closed)| {
            range.last().number() + 1 == bucket.number() && (before, *closed) == (&fence, draining)
        });
        let longer = alike.and_then(|row| {
            row.0 = BucketRange::new(row.0.first(), bucket)?;
            Some(())
        });
        if longer.is_none() {
            let alone = BucketRange::new(bucket, bucket).expect("one bucket is a range");
            rows.push((alone, fence, draining));
        }
    }
    let shards = rows.into_iter().map(|(buckets, fence, draining)| {
        let extent = Extent { shard: buckets.hundred(), buckets };
        FencedShard { fence: FenceView::new(&extent, &fence), draining }
    });
    let answer = FencedAnswer { unit: books.unit().to_string(), shards: shards.collect() };
    json(StatusCode::OK, &answer)
}

fn moves(asked: &[AtEpoch]) -> Result<Vec<(Extent, Epoch)>, Error> {
    if asked.len() > usize::from(SHARDS_MAX) {
        return Err(Error::Request(format!("at most {SHARDS_MAX} shards at once")));
    }
    let parsed = asked.iter().map(|AtEpoch { shard, epoch, buckets }| {
        let shard = shard.parse().map_err(Error::Shard)?;
        let extent = Extent::of(shard, *buckets)
            .ok_or_else(|| Error::Request(format!("shard {shard}: name its buckets")))?;
        Ok((extent, Epoch(*epoch)))
    });
    parsed.collect()
}

// === impl FailedShard ===

impl FailedShard {
    fn new(extent: &Extent, error: &Error) -> FailedShard {
        let code = error.code().to_string();
        FailedShard { shard: extent.shard.to_string(), code, message: error.to_string() }
    }
}
