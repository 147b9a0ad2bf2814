//! Requests while a shard is split, routed by maps from before and after.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use topology::{BucketRange, UserId};

use super::store::{Store, books};
use crate::{Peer, Trust, http::Service};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Ledgers of rz01 and rz03 over one store; rz01 owns shard 23 at epoch 1.
struct World {
    near: Service,
    far: Service,
}

// === impl World ===

impl World {
    async fn new() -> World {
        let store = Store::new();
        let near = books::ready(&store, 1_000).await;
        let other = books::opening(&neighbour(), 1_000);
        near.execute(other, None, books::soon()).await.expect("opened");
        let trust = || Trust { plaintext: true, ..Trust::default() };
        let far = Service::new(books::of("rz03", &store), trust());
        World { near: Service::new(near, trust()), far }
    }
}

/// A user of the same shard in a lower bucket.
fn neighbour() -> UserId {
    let users = (1..1_000).map(|n| format!("{n:03}001230").parse::<UserId>().expect("an id"));
    let of_23 = |user: &UserId| user.bucket().shard() == books::user().bucket().shard();
    let mut lower = users.filter(|user| of_23(user) && user.bucket() < books::user().bucket());
    lower.next().expect("there are many users")
}

/// The part that is cut off: from the user's bucket on. The neighbour's stays.
fn parts() -> (BucketRange, BucketRange) {
    let whole = books::shard().buckets;
    let part = BucketRange::new(books::user().bucket(), whole.last()).expect("in order");
    (whole.without(part).expect("an end"), part)
}

fn stamp(shard: u16, unit: &str, epoch: u64, buckets: Option<BucketRange>) -> String {
    let buckets = buckets.map(|range| format!("; buckets={range}")).unwrap_or_default();
    format!("{shard}; unit={unit}; epoch={epoch}; hop=1{buckets}")
}

async fn send(service: &Service, method: &str, path: &str, stamp: &str, body: Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !stamp.is_empty() {
        request = request.header("polis-shard", stamp);
    }
    if let Some(key) = body["key"].as_str() {
        request = request.header("idempotency-key", key);
    }
    let mut body = body;
    body.as_object_mut().map(|body| body.remove("key"));
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = request.body(Full::new(body)).expect("a request");
    let (head, body) = service.handle(request, &Peer::Plaintext).await.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let last = body.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let body = serde_json::from_slice(last).unwrap_or_default();
    Answer { status: head.status, headers: head.headers, body }
}

async fn pay(service: &Service, payer: &UserId, key: &str, stamp: &str) -> Answer {
    let order =
        json!({"key": key, "payer": payer, "merchant": "tea", "amount": 1, "currency": "CNY"});
    send(service, "POST", "/v1/payments", stamp, order).await
}

async fn raise(service: &Service, unit: &str, epoch: u64, buckets: BucketRange) {
    let shards = json!([{"shard": "100", "epoch": epoch, "buckets": buckets}]);
    let body = json!({"unit": unit, "shards": shards});
    let answer = send(service, "POST", "/internal/v1/fence", "", body).await;
    assert_eq!(answer.body["raised"][0]["buckets"], json!(buckets), "{}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_served_by_whom_the_whole_was_whichever_map_routed() {
    let World { near, .. } = World::new().await;
    let (left, part) = parts();
    let user = books::user();
    for (key, stamp, shard) in
        [("a", stamp(23, "rz01", 1, None), "23"), ("b", stamp(100, "rz01", 1, Some(part)), "100")]
    {
        let paid = pay(&near, &user, key, &stamp).await;
        assert_eq!((paid.status, &paid.body["shard"]), (StatusCode::CREATED, &json!(shard)));
        assert_eq!(paid.headers["polis-shard-id"], shard);
    }
    let paid = pay(&near, &neighbour(), "c", &stamp(23, "rz01", 1, Some(left))).await;
    assert_eq!(paid.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn an_edge_with_the_map_from_before_is_refused_once_the_part_has_moved() {
    let World { near, far } = World::new().await;
    let (_, part) = parts();
    raise(&far, "rz03", 2, part).await;
    let before = stamp(23, "rz01", 1, None);
    let refused = pay(&near, &books::user(), "a", &before).await;
    assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST, "{}", refused.body);
    assert_eq!(refused.headers["polis-fence"], "23; unit=rz03; epoch=2; hop=1");
    // The edge sends it again by the newer map, and it is made once.
    let paid = pay(&far, &books::user(), "a", &stamp(100, "rz03", 2, Some(part))).await;
    assert_eq!((paid.status, &paid.body["epoch"]), (StatusCode::CREATED, &json!(2)));
    assert!(paid.body.get("replayed").is_none());
    // What stayed is served to both edges.
    assert_eq!(pay(&near, &neighbour(), "b", &before).await.status, StatusCode::CREATED);
    // A walk by the old map would show what is not ours any more.
    let walk = send(&near, "GET", "/v1/shards/23/audit", &before, Value::Null).await;
    assert_eq!(walk.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_names_the_other_part_is_told_the_bucket() {
    let World { near, .. } = World::new().await;
    let (left, _) = parts();
    let refused = pay(&near, &books::user(), "a", &stamp(23, "rz01", 1, Some(left))).await;
    assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(refused.headers["polis-bucket"], books::user().bucket().to_string().as_str());
    assert_eq!(refused.body["error"]["code"], "PLS0515");
    // A cookie of another shard altogether is the client's mistake, as ever.
    let wrong = pay(&near, &books::user(), "a", &stamp(24, "rz01", 1, None)).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn walks_say_which_buckets_they_saw() {
    let World { near, .. } = World::new().await;
    let (left, part) = parts();
    pay(&near, &books::user(), "a", "").await;
    pay(&near, &neighbour(), "b", "").await;
    let of_left = stamp(23, "rz01", 1, Some(left));
    for (path, stamp, range, payments) in [
        ("/v1/shards/23/audit", &of_left, left, 1),
        ("/v1/shards/100/audit", &stamp(100, "rz01", 1, Some(part)), part, 1),
        ("/v1/shards/23/audit", &String::new(), books::shard().buckets, 2),
    ] {
        let audit = send(&near, "GET", path, stamp, Value::Null).await;
        assert_eq!(audit.body["buckets"], json!(range), "{}", audit.body);
        assert_eq!(audit.body["payments"], payments);
    }
    let end = send(&near, "GET", "/v1/shards/23/payments", &of_left, Value::Null).await;
    assert_eq!((&end.body["buckets"], &end.body["lines"]), (&json!(left), &json!(1)));
    let nameless = send(&near, "GET", "/v1/shards/100/audit", "", Value::Null).await;
    assert_eq!(nameless.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_batch_across_a_split_says_which_part_has_which_payer() {
    let World { near, .. } = World::new().await;
    let (_, part) = parts();
    let keyed = |payer: &UserId, key: &str| json!({"payer": payer, "key": key, "merchant": "tea", "amount": 1, "currency": "CNY"});
    let both = json!({"payments": [keyed(&books::user(), "a"), keyed(&neighbour(), "b")]});
    let before = stamp(23, "rz01", 1, None);
    let paid = send(&near, "POST", "/v1/payments:batch", &before, both.clone()).await;
    assert_eq!(paid.status, StatusCode::OK, "{}", paid.body);
    let after = stamp(100, "rz01", 1, Some(part));
    let refused = send(&near, "POST", "/v1/payments:batch", &after, both).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let message = refused.body["error"]["message"].as_str().expect("a message");
    assert!(message.contains(&part.to_string()), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_fences_that_a_process_knows_are_shown_by_what_stands_alike() {
    let World { near, .. } = World::new().await;
    let (left, part) = parts();
    raise(&near, "rz01", 2, part).await;
    let shown = send(&near, "GET", "/internal/v1/shards", "", Value::Null).await;
    let row = |range: BucketRange, epoch: u64| json!({"shard": "23", "buckets": range, "unit": "rz01", "epoch": epoch, "draining": false});
    assert_eq!(shown.body["shards"], json!([row(left, 1), row(part, 2)]));
}
