//! What one shard holds of a run, read line by line as of one revision.

use std::collections::BTreeMap;

use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use topology::{BucketRange, Shard};

use crate::{
    edge::{Edges, body_of},
    payment::PAUSE,
};

/// Longest wait for the head of an answer, and for each piece of it.
const PIECE_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Longest line; a payment's has a few hundred bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

const TRIES_MAX: usize = 20;

/// A payment that is there, as a line of the list that a check was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    pub id: String,
    pub committed: bool,
    pub amount: u64,
    /// How often it is listed: more than once is once too often.
    pub times: u64,
}

/// A line: a payment, or the last one, which says that nothing is missing.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    end: bool,
    /// Of the last one: what was listed.
    #[serde(default)]
    buckets: Option<BucketRange>,
    #[serde(default)]
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    amount: u64,
}

/// What one shard has of a run: its buckets, and payments by id.
type Exported = Option<(BucketRange, BTreeMap<String, Present>)>;

/// Payments of `shard` whose key starts with `keys`, by id, and the buckets that
/// were looked at; none if there is no such shard. Asks edge after edge until one
/// gives the whole list.
pub(crate) async fn export(
    edges: &Edges,
    shard: Shard,
    keys: &str,
) -> Result<Option<(BucketRange, Vec<Present>)>, String> {
    let path = format!("/v1/shards/{shard}/payments?keys={keys}");
    let mut reason = String::new();
    for attempt in 0..TRIES_MAX {
        let edge = edges.choose(usize::from(shard.number()), attempt);
        match read(edges, edge, &path).await {
            Ok(None) if shard.hundred().is_none() => return Ok(None),
            Ok(None) => reason = format!("{path}: there is no such shard"),
            Ok(Some((buckets, present))) => {
                return Ok(Some((buckets, present.into_values().collect())));
            }
            Err(why) => reason = format!("{path}: {why}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(reason)
}

async fn read(edges: &Edges, edge: usize, path: &str) -> Result<Exported, String> {
    let late = |_| "no answer in time".to_owned();
    let request = edges.open(edge, Method::GET, path);
    let response = timeout(PIECE_LIMIT, request).await.map_err(late)??;
    if response.status() == http::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if response.status() != http::StatusCode::OK {
        let status = response.status().as_u16();
        let body = timeout(PIECE_LIMIT, body_of(response)).await.map_err(late)?;
        let body = body.map(|body| String::from_utf8_lossy(&body).into_owned());
        return Err(format!("status {status}: {}", body.unwrap_or_default()));
    }
    let mut body = response.into_body();
    let (mut present, mut rest) = (BTreeMap::new(), BytesMut::new());
    while let Some(frame) = timeout(PIECE_LIMIT, body.frame()).await.map_err(late)? {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1);
            let line: Line = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            if line.end {
                let buckets = line.buckets.ok_or("the list does not say its buckets")?;
                return Ok(Some((buckets, present)));
            }
            let committed = line.status == "Committed";
            let id = line.id.clone();
            let new = || Present { id, committed, amount: line.amount, times: 0 };
            present.entry(line.id).or_insert_with(new).times += 1;
        }
        if rest.len() > LINE_BYTES_MAX {
            return Err("a line does not end".into());
        }
    }
    Err("the list broke off".into())
}
