//! Walks of a whole shard: exports and audits.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kv::{Kv, RangeRequest};
use topology::UserId;

use super::store::{Store, books};
use crate::{
    Books, Error, PaymentId, Peer, Trust,
    http::{AnswerBody, Service},
    place::{self, Table},
    read::payment_id,
};

/// Longer than an export may last.
const TOO_LONG: std::time::Duration = std::time::Duration::from_secs(5 * 60 + 1);

/// Of one shard, in different buckets.
fn users() -> Vec<UserId> {
    (1..=4).map(|n| format!("{n}088001234").parse().expect("an id")).collect()
}

/// Every user made `payments`.
async fn busy(store: &Store, payments: usize) -> Books {
    let books = books::ready(store, 10_000).await;
    for user in users() {
        books.execute(books::opening(&user, 10_000), None, books::soon()).await.expect("opened");
        for n in 0..payments {
            let order = books::order_of(&user, &format!("k{n:03}"), 1);
            books.execute(order, None, books::soon()).await.expect("paid");
        }
    }
    books
}

async fn exported(books: &Books, after: Option<&PaymentId>) -> Vec<PaymentId> {
    let (mut scan, _) = books.export(books::shard(), after, books::soon()).await.expect("ours");
    let mut ids = Vec::new();
    while let Some(row) = scan.next(books.database()).await.expect("a row") {
        ids.push(payment_id(&row.key).expect("an id"));
    }
    ids
}

async fn rows(store: &Store, tables: &[Table]) -> usize {
    let mut rows = 0;
    for table in tables {
        let range = RangeRequest::new(place::of_range(*table, books::shard().buckets));
        rows += store.range(range).await.expect("rows").count;
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn a_walk_of_many_pages_makes_the_store_count_each_row_once() {
    let store = Store::new();
    let books = busy(&store, 200).await;
    let before = store.counted();
    let ids = exported(&books, None).await;
    // And once the fence of each bucket.
    assert_eq!((ids.len(), store.counted() - before), (800, 800 + 100));
    assert!(ids.is_sorted_by_key(|id| (id.payer.bucket(), id.to_string())));
    let rest = exported(&books, Some(&ids[599])).await;
    assert_eq!(rest, ids[600..]);
    let all = rows(&store, &[Table::Account, Table::Clearing, Table::Equity, Table::Payment]).await;
    let before = store.counted();
    let audit = books.audit(books::shard(), books::soon()).await.expect("audited");
    assert_eq!((audit.payments, audit.violation_count), (800, 0));
    assert_eq!(store.counted() - before, all + 100);
}

async fn export(service: &Service) -> Response<AnswerBody> {
    let request = Request::get("/v1/shards/23/payments").body(Full::new(Bytes::new()));
    service.handle(request.expect("a request"), &Peer::Plaintext).await
}

#[tokio::test(start_paused = true)]
async fn readers_who_stop_reading_do_not_keep_others_out_for_long() {
    let books = busy(&Store::new(), 1).await;
    let service = Service::new(books, Trust { plaintext: true, ..Trust::default() });
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let response = export(&service).await;
        assert_eq!(response.status(), StatusCode::OK);
        stuck.push(response.into_body());
    }
    assert_eq!(export(&service).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(TOO_LONG).await;
    let served = export(&service).await;
    assert_eq!(served.status(), StatusCode::OK);
    let whole = served.into_body().collect().await.expect("a body").to_bytes();
    assert!(whole.ends_with(b"\"lines\":4}\n"));
    for body in stuck {
        let broken = body.collect().await.expect_err("its time is up");
        assert!(matches!(broken.downcast_ref(), Some(Error::Deadline)), "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_that_is_dropped_makes_room_at_once() {
    let books = busy(&Store::new(), 1).await;
    let service = Service::new(books, Trust { plaintext: true, ..Trust::default() });
    for _ in 0..20 {
        let response = export(&service).await;
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
    }
}
