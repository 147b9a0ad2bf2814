//! A payment at any edge reaches the unit that owns the payer's shard, and
//! what is wrong is refused with a code and changes nothing.

use e2e::{Answer, Estate};
use serde_json::{Value, json};

/// Shard 42, which is rz03's at home.
const PAYER: &str = "2088000000420";
const UID: &str = "polis-uid: 2088000000420";

fn open(estate: &Estate, uid: &str) {
    let body = json!({"uid": uid, "currency": "CNY", "opening_balance": 10_000}).to_string();
    let header = format!("polis-uid: {uid}");
    let opened = estate.edge(0, "POST", "/v1/accounts", &[&header], &body);
    assert!(matches!(opened.status, 200 | 201), "{opened:?}");
}

fn payment(payer: &str, amount: u64) -> String {
    json!({"payer": payer, "merchant": "m-1", "amount": amount, "currency": "CNY"}).to_string()
}

fn balance(estate: &Estate, uid: &str) -> Value {
    let account = estate.edge(0, "GET", &format!("/v1/accounts/{uid}"), &[], "");
    assert_eq!(account.status, 200, "{account:?}");
    account.json()["balance"].clone()
}

#[test]
fn payments_find_their_unit_and_bad_ones_change_nothing() {
    let estate = Estate::up("payments", "2+2+1");
    open(&estate, PAYER);

    // Whichever edge takes it, and however the user is named.
    for edge in 0..5 {
        let key = format!("idempotency-key: any-{edge}");
        let paid = estate.edge(edge, "POST", "/v1/payments", &[UID, &key], &payment(PAYER, 100));
        assert_eq!(paid.status, 201, "{paid:?}");
        let json = paid.json();
        assert_eq!((json["unit"].as_str(), json["shard"].as_str()), (Some("rz03"), Some("42")));
        assert!(json["epoch"].as_u64() >= Some(1), "{paid:?}");
    }
    let cookie = ["cookie: zone_op=42", "idempotency-key: by-cookie"];
    let paid = estate.edge(1, "POST", "/v1/payments", &cookie, &payment(PAYER, 100));
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(balance(&estate, PAYER), 10_000 - 600);

    // The same key and body is the same payment; another body is an error.
    let key = "idempotency-key: once";
    let first = estate.edge(0, "POST", "/v1/payments", &[UID, key], &payment(PAYER, 50));
    let again = estate.edge(4, "POST", "/v1/payments", &[UID, key], &payment(PAYER, 50));
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = estate.edge(0, "POST", "/v1/payments", &[UID, key], &payment(PAYER, 51));
    refused(&other, 409);
    let path = format!("/v1/payments/{PAYER}.once");
    let read = estate.edge(2, "GET", &path, &[], "");
    assert_eq!((read.status, read.json()["amount"].as_u64()), (200, Some(50)));

    // Resolving writes the last word: a later execution is refused.
    let resolve = format!("/v1/payments/{PAYER}.never:resolve");
    let resolved = estate.edge(3, "POST", &resolve, &[], "");
    assert_eq!(resolved.json()["status"], "Cancelled", "{resolved:?}");
    let late = ["polis-uid: 2088000000420", "idempotency-key: never"];
    let late = estate.edge(0, "POST", "/v1/payments", &late, &payment(PAYER, 1));
    assert!((400..500).contains(&late.status), "{late:?}");
    assert_eq!(balance(&estate, PAYER), 10_000 - 650);

    // Many in one call, by a user or by the shard that they are of.
    let keyed = |key: &str| json!({"key": key, "payer": PAYER, "merchant": "m-1", "amount": 25, "currency": "CNY"});
    let batch = json!({"payments": [keyed("b-1"), keyed("b-2"), keyed("b-1")]}).to_string();
    for (edge, route, statuses) in
        [(4, UID, [201, 201, 200]), (0, "cookie: zone_op=42", [200, 200, 200])]
    {
        let paid = estate.edge(edge, "POST", "/v1/payments:batch", &[route], &batch);
        assert_eq!(paid.status, 200, "{paid:?}");
        let outcomes = paid.json()["outcomes"].as_array().expect("outcomes").clone();
        let seen: Vec<_> = outcomes.iter().map(|one| one["status"].as_u64()).collect();
        assert_eq!(seen, statuses.map(Some), "{paid:?}");
    }
    assert_eq!(balance(&estate, PAYER), 10_000 - 700);

    bad_requests(&estate);
    assert_eq!(balance(&estate, PAYER), 10_000 - 700, "nothing bad changed anything");
}

fn refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.code().starts_with("PLS"), "{answer:?}");
    assert!(answer.json()["error"]["message"].is_string(), "{answer:?}");
}

fn bad_requests(estate: &Estate) {
    let key = "idempotency-key: bad";
    let pay = |headers: &[&str], body: &str| estate.edge(0, "POST", "/v1/payments", headers, body);
    let good = payment(PAYER, 1);
    refused(&pay(&[key], &good), 400);
    refused(&pay(&["polis-uid: 12", key], &good), 400);
    refused(&pay(&["polis-uid: 20880000004x0", key], &good), 400);
    // Of the same shard, and of another.
    refused(&pay(&["polis-uid: 2088000000421", key], &good), 400);
    refused(&pay(&["polis-uid: 2088000000990", key], &good), 400);
    refused(&pay(&["cookie: zone_op=07", key], &good), 400);
    for forged in
        ["polis-shard: 42; unit=rz03; epoch=9; hop=1", "polis-epoch: 9", "polis-unit: rz01"]
    {
        refused(&pay(&[UID, key, forged], &good), 400);
    }
    refused(&pay(&[UID], &good), 400);
    refused(&pay(&[UID, "idempotency-key: a b"], &good), 400);
    refused(&pay(&[UID, key], "{"), 400);
    refused(&pay(&[UID, key], "[]"), 400);
    refused(&pay(&[UID, key], &good.replace("merchant", "merchand")), 400);
    refused(&pay(&[UID, key], &good.replace("\"amount\":1", "\"amount\":-1")), 400);
    refused(&pay(&[UID, key], &payment(PAYER, 0)), 400);
    refused(&pay(&[UID, key], &payment(PAYER, 1_000_000)), 422);
    let batches =
        |route: &str, body: &str| estate.edge(0, "POST", "/v1/payments:batch", &[route], body);
    refused(&batches(UID, "{\"payments\":[]}"), 400);
    refused(&batches("polis-deadline-ms: 5000", "{\"payments\":[]}"), 400);
    let elsewhere = good.replacen('{', "{\"key\":\"bad\",", 1);
    refused(&batches("polis-uid: 2088000000990", &format!("{{\"payments\":[{elsewhere}]}}")), 400);
    let huge = format!("{{\"payer\":\"{}\"}}", "9".repeat(100_000));
    refused(&pay(&[UID, key], &huge), 413);
    refused(&estate.edge(0, "GET", "/v2/anything", &[UID], ""), 404);
    refused(&estate.edge(0, "GET", "/v1/accounts/2088000000429", &[], ""), 404);
    refused(&estate.edge(0, "GET", &format!("/v1/payments/{PAYER}.bad"), &[], ""), 404);
    let other = ["polis-uid: 2088000000990"];
    refused(&estate.edge(0, "GET", &format!("/v1/accounts/{PAYER}"), &other, ""), 400);
}
