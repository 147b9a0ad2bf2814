//! Opening the payers' accounts before the first payment.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use serde_json::json;

use crate::{Config, Error, TryFailure, edge::Edges, payment::is_refusal, users::user};

/// Accounts opened at once.
const CONCURRENCY: usize = 64;
/// An estate that just started may still be finding its shards.
const TRIES_MAX: usize = 20;

/// Enough, in minor units, for a thousand payments a second over years.
const OPENING_BALANCE: u64 = 1_000_000_000_000;

/// Marks the accounts as the load's own, so that they are told from people's.
const MARK: &str = "load";

/// The currency of everything the load does.
pub(crate) const CURRENCY: &str = "CNY";

pub(crate) async fn open(edges: &Arc<Edges>, users: u32) -> Result<(), Error> {
    let mut opened = stream::iter(0..users)
        .map(|index| open_one(edges.clone(), index))
        .buffer_unordered(CONCURRENCY);
    while let Some(outcome) = opened.next().await {
        outcome?;
    }
    Ok(())
}

async fn open_one(edges: Arc<Edges>, index: u32) -> Result<(), Error> {
    let user = user(index);
    let uid = user.as_str();
    let body = json!({
        "uid": uid, "currency": CURRENCY, "opening_balance": OPENING_BALANCE, "mark": MARK,
    });
    let body = Bytes::from(body.to_string());
    let mut reason = String::new();
    for attempt in 0..TRIES_MAX {
        let edge = edges.choose(index as usize, attempt);
        let headers = [("polis-uid", uid), ("content-type", "application/json")];
        let limit = Config::TRY_TIMEOUT;
        let sent = edges.send(edge, Method::POST, "/v1/accounts", &headers, body.clone(), limit);
        match sent.await {
            Ok(answer) if matches!(answer.status, 200 | 201) => return Ok(()),
            Ok(answer) if is_refusal(answer.status) => {
                let reason = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(Error::Account { uid: uid.into(), reason });
            }
            Ok(answer) => reason = format!("status {}", answer.status),
            Err(TryFailure::NotConnected) => reason = "no edge answers".into(),
            Err(failure) => reason = format!("{failure:?}"),
        }
        tokio::time::sleep(crate::payment::PAUSE).await;
    }
    Err(Error::Account { uid: uid.into(), reason })
}
