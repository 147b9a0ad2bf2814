//! The HTTP face, without sockets.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use topology::Epoch;

use super::store::{Store, books};
use crate::{Peer, Trust, http::Service};

const UID: &str = "2088001234";

struct Client {
    service: Service,
    peer: Peer,
    headers: Vec<(&'static str, String)>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

// === impl Client ===

impl Client {
    /// A ledger of rz01 that owns the user's shard at epoch 1.
    async fn new() -> Client {
        let books = books::of("rz01", &Store::new());
        books.raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
        let trust = Trust { plaintext: true, ..Trust::default() };
        let service = Service::new(books, trust);
        Client { service, peer: Peer::Plaintext, headers: Vec::new() }
    }

    /// The same with an account that holds 1,000.00.
    async fn with_account() -> Client {
        let client = Client::new().await;
        let opened = client.post("/v1/accounts", account(100_000)).await;
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.text);
        client
    }

    fn with(&self, name: &'static str, value: &str) -> Client {
        let mut headers = self.headers.clone();
        headers.push((name, value.to_owned()));
        Client { service: self.service.clone(), peer: self.peer.clone(), headers }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.service.handle(request, &self.peer).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: head.status, headers: head.headers, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Bytes::new()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body.to_string()).await
    }

    async fn pay(&self, key: &str, amount: u64) -> Answer {
        self.with("idempotency-key", key).post("/v1/payments", payment(amount)).await
    }
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status and code together, as one assertion.
    fn fails(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{}", self.text);
        assert!(error["message"].is_string());
        assert!(error["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
    }
}

fn account(balance: u64) -> Value {
    json!({"uid": UID, "currency": "CNY", "opening_balance": balance})
}

fn payment(amount: u64) -> Value {
    json!({"payer": UID, "merchant": "tea-house", "amount": amount, "currency": "CNY"})
}

#[tokio::test(start_paused = true)]
async fn each_payment_of_a_batch_has_an_outcome_of_its_own() {
    let client = Client::with_account().await;
    let keyed = |key: &str, amount: u64| {
        let mut payment = payment(amount);
        payment["key"] = key.into();
        payment
    };
    let batch = json!({"payments": [
        keyed("k1", 90_000), keyed("k2", 20_000), keyed("k1", 90_000), keyed("k3", 10_000),
    ]});
    let answer = client.post("/v1/payments:batch", batch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let outcomes = answer.json()["outcomes"].as_array().expect("outcomes").clone();
    let statuses: Vec<_> = outcomes.iter().map(|one| one["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(201), Some(422), Some(200), Some(201)]);
    assert_eq!(outcomes[0]["payment"]["id"], format!("{UID}.k1"));
    assert_eq!(outcomes[1]["error"]["code"], errors::LEDGER_FUNDS.to_string());
    let elsewhere = json!({"key": "k4", "payer": "2088005678", "merchant": "tea-house",
        "amount": 1, "currency": "CNY"});
    let two_shards = json!({"payments": [keyed("k4", 1), elsewhere]});
    assert_eq!(client.post("/v1/payments:batch", two_shards).await.status, StatusCode::BAD_REQUEST);
    let none = json!({"payments": []});
    assert_eq!(client.post("/v1/payments:batch", none).await.status, StatusCode::BAD_REQUEST);
    let second_is_wrong = json!({"payments": [keyed("k5", 1), keyed("k6", 0)]});
    let wrong = client.post("/v1/payments:batch", second_is_wrong).await;
    wrong.fails(400, &errors::LEDGER_REQUEST.to_string());
    assert!(wrong.text.contains("payments[1]: the amount"), "{}", wrong.text);
    assert_eq!(client.get(&format!("/v1/payments/{UID}.k5")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_batch_for_a_shard_that_is_leaving_is_sent_elsewhere_as_a_whole() {
    let client = Client::with_account().await;
    let batch = |keys: &[&str]| {
        let keyed = |key: &&str| {
            let mut payment = payment(10);
            payment["key"] = (*key).into();
            payment
        };
        json!({"payments": keys.iter().map(keyed).collect::<Vec<_>>()})
    };
    let made = client.post("/v1/payments:batch", batch(&["k1"])).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let drain = json!({"shards": [{"shard": "23", "epoch": 2}], "deadline_ms": 100});
    client.post("/internal/v1/drain", drain).await;
    // What the first call made is no obstacle: another unit will replay it.
    let moving = client.post("/v1/payments:batch", batch(&["k1", "k2"])).await;
    moving.fails(421, &errors::LEDGER_MOVING.to_string());
    assert!(moving.header("polis-fence").is_some_and(|fence| fence.starts_with("23; unit=rz01")));
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_made_shown_and_replayed() {
    let client = Client::with_account().await;
    let paid = client.pay("k1", 1250).await;
    assert_eq!(paid.status, StatusCode::CREATED, "{}", paid.text);
    let mut first = paid.json();
    assert_eq!(first["id"], "2088001234.k1");
    assert_eq!(
        (&first["unit"], &first["shard"], &first["epoch"]),
        (&json!("rz01"), &json!("23"), &json!(1))
    );
    assert_eq!(paid.header("polis-unit"), Some("rz01"));
    assert_eq!(paid.header("polis-shard-id"), Some("23"));
    assert_eq!(paid.header("polis-epoch"), Some("1"));
    let again = client.pay("k1", 1250).await;
    assert_eq!(again.status, StatusCode::OK);
    first["replayed"] = json!(true);
    assert_eq!(again.json(), first);
    let shown = client.get("/v1/payments/2088001234.k1").await.json();
    assert_eq!((&shown["status"], &shown["amount"]), (&json!("Committed"), &json!(1250)));
    let account = client.get("/v1/accounts/2088001234").await.json();
    assert_eq!((&account["balance"], &account["version"]), (&json!(98_750), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_payment_is_said_with_a_code_and_changes_nothing() {
    let client = Client::with_account().await;
    client.pay("k1", 100).await;
    client.pay("k1", 101).await.fails(409, "PLS0509");
    client.pay("k2", 99_999_999).await.fails(422, "PLS0511");
    client.pay("k2", 0).await.fails(400, "PLS0502");
    client.pay("k2", 1_000_000_000_001).await.fails(400, "PLS0502");
    client.pay("no spaces", 1).await.fails(400, "PLS0503");
    client.pay(&"k".repeat(65), 1).await.fails(400, "PLS0503");
    client.post("/v1/payments", payment(1)).await.fails(400, "PLS0503");
    let keyed = client.with("idempotency-key", "k3");
    let broken = |field: &str, value: Value| {
        let mut body = payment(1);
        body[field] = value;
        body
    };
    for (body, status, code) in [
        (broken("payer", json!("12")), 400, "PLS0501"),
        (broken("payer", json!("2088001239")), 404, "PLS0507"),
        (broken("merchant", json!("tea house")), 400, "PLS0501"),
        (broken("amount", json!(1.5)), 400, "PLS0500"),
        (broken("amount", json!(-1)), 400, "PLS0500"),
        (broken("amount", json!("1")), 400, "PLS0500"),
        (broken("currency", json!("yuan")), 400, "PLS0502"),
        (broken("currency", json!("EUR")), 422, "PLS0512"),
        (broken("tip", json!(1)), 400, "PLS0500"),
        (json!([]), 400, "PLS0500"),
    ] {
        keyed.post("/v1/payments", body).await.fails(status, code);
    }
    keyed.send("POST", "/v1/payments", "{").await.fails(400, "PLS0500");
    keyed.send("POST", "/v1/payments", vec![b' '; 64 * 1024 + 1]).await.fails(413, "PLS0522");
    keyed
        .with("polis-uid", "2088001235")
        .post("/v1/payments", payment(1))
        .await
        .fails(400, "PLS0504");
    client.get("/v1/nonsense").await.fails(404, "PLS0521");
    let method = client.get("/v1/payments").await;
    method.fails(405, "PLS0526");
    assert_eq!(method.header("allow"), Some("POST"));
    let account = client.get("/v1/accounts/2088001234").await.json();
    assert_eq!((&account["balance"], &account["version"]), (&json!(99_900), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn an_account_opens_once_and_says_so() {
    let client = Client::with_account().await;
    assert_eq!(client.post("/v1/accounts", account(100_000)).await.status, StatusCode::OK);
    client.post("/v1/accounts", account(1)).await.fails(409, "PLS0513");
    client.get("/v1/accounts/2088001239").await.fails(404, "PLS0507");
}

#[tokio::test(start_paused = true)]
async fn a_payment_not_seen_can_be_resolved_and_is_then_refused() {
    let client = Client::with_account().await;
    client.get("/v1/payments/2088001234.k1").await.fails(404, "PLS0508");
    let resolved = client.send("POST", "/v1/payments/2088001234.k1:resolve", "").await;
    assert_eq!(
        (resolved.status, &resolved.json()["status"]),
        (StatusCode::OK, &json!("Cancelled"))
    );
    client.pay("k1", 1).await.fails(409, "PLS0510");
}

#[tokio::test(start_paused = true)]
async fn a_statement_lists_entries_by_version_page_by_page() {
    let client = Client::with_account().await;
    for key in ["z", "a", "m", "b"] {
        client.pay(key, 10).await;
    }
    let mut versions = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/accounts/{UID}/entries?limit=2&after={after}");
        let page = client.get(&path).await.json();
        for entry in page["entries"].as_array().expect("entries") {
            versions.push((entry["version"].as_u64(), entry["balance"].as_u64()));
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    let expected: Vec<_> = (1..=5).map(|v| (Some(v), Some(100_000 - (v - 1) * 10))).collect();
    assert_eq!(versions, expected);
    client.get(&format!("/v1/accounts/{UID}/entries?limit=x")).await.fails(400, "PLS0500");
}

#[tokio::test(start_paused = true)]
async fn an_export_is_whole_filtered_by_mark_and_can_be_resumed() {
    let client = Client::with_account().await;
    let marked =
        json!({"uid": "2088001230", "currency": "CNY", "opening_balance": 5_000, "mark": "run-7"});
    assert_eq!(client.post("/v1/accounts", marked).await.status, StatusCode::CREATED);
    for n in 0..600 {
        assert_eq!(client.pay(&format!("k{n:03}"), 1).await.status, StatusCode::CREATED);
    }
    let body = json!({"payer": "2088001230", "merchant": "m", "amount": 5, "currency": "CNY"});
    client.with("idempotency-key", "one").post("/v1/payments", body).await;
    let lines = async |path: &str| {
        let export = client.get(path).await;
        assert_eq!(export.status, StatusCode::OK, "{}", export.text);
        export
            .text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect::<Vec<Value>>()
    };
    let all = lines("/v1/shards/23/payments").await;
    assert_eq!((all.len(), &all[601]["end"], &all[601]["lines"]), (602, &json!(true), &json!(601)));
    let marked = lines("/v1/shards/23/payments?mark=run-7").await;
    assert_eq!((marked.len(), &marked[0]["id"]), (2, &json!("2088001230.one")));
    assert_eq!(marked[0]["debit"], json!({"balance": 4_995, "version": 2}));
    let some = lines("/v1/shards/23/payments?mark=&keys=k59").await;
    assert_eq!((some.len(), &some[0]["id"]), (11, &json!("2088001234.k590")));
    let after = all[599]["id"].as_str().expect("an id");
    let rest = lines(&format!("/v1/shards/23/payments?after={after}")).await;
    assert_eq!(
        rest[..],
        all[600..][..1].iter().cloned().chain(rest[1..].iter().cloned()).collect::<Vec<_>>()[..]
    );
    assert_eq!(rest.len(), 2);
    let audit = client.get("/v1/shards/23/audit").await.json();
    assert_eq!((&audit["payments"], &audit["violation_count"]), (&json!(601), &json!(0)));
    let sums = &audit["currencies"]["CNY"];
    assert_eq!((&sums["debits"], &sums["held"]), (&sums["credits"], &json!(104_395)));
}

#[tokio::test(start_paused = true)]
async fn a_stamp_must_fit_the_data_and_the_owner() {
    let client = Client::with_account().await;
    let pay = async |stamp: &str, key: &str| client.with("polis-shard", stamp).pay(key, 1).await;
    assert_eq!(pay("23; unit=rz01; epoch=1; hop=1", "a").await.status, StatusCode::CREATED);
    // Another epoch, but the fence is ours: the answer names the actual one.
    let served = pay("23; unit=rz01; epoch=9; hop=1", "b").await;
    assert_eq!((served.status, served.header("polis-epoch")), (StatusCode::CREATED, Some("1")));
    pay("24; unit=rz01; epoch=1; hop=1", "c").await.fails(400, "PLS0505");
    pay("nonsense", "c").await.fails(400, "PLS0505");
    pay("23; unit=rz01; epoch=1; hop=3", "c").await.fails(400, "PLS0505");
    let elsewhere = pay("23; unit=rz03; epoch=2; hop=1", "c").await;
    elsewhere.fails(421, "PLS0515");
    assert_eq!(elsewhere.header("polis-fence"), Some("23; unit=rz01; epoch=1; hop=1"));
    // A shard whose fence nobody raised.
    client.get("/v1/accounts/2088001994").await.fails(421, "PLS0515");
}

#[tokio::test(start_paused = true)]
async fn an_older_stamp_is_refused_with_the_fence_whose_epoch_is_served() {
    let client = Client::with_account().await;
    let fence = json!({"unit": "rz01", "shards": [{"shard": "23", "epoch": 3}]});
    client.post("/internal/v1/fence", fence).await;
    let old = client.with("polis-shard", "23; unit=rz01; epoch=2; hop=1");
    let refused = old.pay("k1", 1).await;
    refused.fails(421, "PLS0515");
    old.get("/v1/accounts/2088001234").await.fails(421, "PLS0515");
    // What the refusal names is what the next map brings, also before the map
    // says Serving.
    let fence = refused.header("polis-fence").expect("a fence");
    assert_eq!(fence, "23; unit=rz01; epoch=3; hop=1");
    let paid = client.with("polis-shard", fence).pay("k1", 1).await;
    assert_eq!(paid.status, StatusCode::CREATED, "{}", paid.text);
    assert!(paid.json().get("replayed").is_none(), "the refused one changed nothing");
}

#[tokio::test(start_paused = true)]
async fn controllers_raise_and_drain_and_are_told_what_stands_in_the_way() {
    let client = Client::with_account().await;
    let fence = async |unit: &str, epoch: u64| {
        let shards = json!([{"shard": "23", "epoch": epoch}, {"shard": "99", "epoch": 4}]);
        client.post("/internal/v1/fence", json!({"unit": unit, "shards": shards})).await
    };
    fence("rz03", 2).await.fails(400, "PLS0500");
    let raised = fence("rz01", 2).await.json();
    assert_eq!(raised["raised"].as_array().map(Vec::len), Some(2), "{raised}");
    let refused = fence("rz01", 1).await.json();
    assert_eq!(refused["refused"][0], json!({"shard": "23", "unit": "rz01", "epoch": 2}));
    let drain = async |epoch: u64| {
        let shards = json!([{"shard": "23", "epoch": epoch}]);
        let drain = json!({"shards": shards, "deadline_ms": 100});
        let drained = client.post("/internal/v1/drain", drain).await.json();
        assert_eq!(drained["drained"][0], json!({"shard": "23", "waited": 0, "left": 0}));
    };
    // Late, of the move that ended here: answered as drained, and not closed.
    drain(2).await;
    assert_eq!(client.pay("k0", 1).await.status, StatusCode::CREATED);
    drain(3).await;
    let moving = client.pay("k1", 1).await;
    moving.fails(421, "PLS0516");
    assert_eq!(moving.header("polis-fence"), Some("23; unit=rz01; epoch=2; hop=1"));
    let shards = client.get("/internal/v1/shards").await.json();
    assert_eq!(
        shards["shards"][0],
        json!({"shard": "23", "unit": "rz01", "epoch": 2, "draining": true})
    );
}

#[tokio::test(start_paused = true)]
async fn only_edges_pay_and_anyone_may_ask_for_health() {
    let mut client = Client::with_account().await;
    client.peer = Peer::Anonymous;
    client.pay("k1", 1).await.fails(403, "PLS0506");
    client.post("/internal/v1/drain", json!({})).await.fails(403, "PLS0506");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    let spiffe = "spiffe://polis.local/unit/rz02/ns/polis-system/sa/edge".parse().expect("an id");
    client.peer = Peer::Known(identity::Peer { spiffe: Some(spiffe), ..Default::default() });
    client.pay("k1", 1).await.fails(400, "PLS0505");
    let stamped = client.with("polis-shard", "23; unit=rz01; epoch=1; hop=1");
    assert_eq!(stamped.pay("k1", 1).await.status, StatusCode::CREATED);
    stamped.post("/internal/v1/drain", json!({})).await.fails(403, "PLS0506");
}
