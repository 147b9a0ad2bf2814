//! What a user sees of the edge while a shard is split.

mod common;

use common::*;
use topology::{BucketRange, UserId};

/// The user that every test pays for, of shard 42.
const USER: &str = "2088000420";

fn bucket() -> topology::Bucket {
    USER.parse::<UserId>().expect("an id").bucket()
}

/// From the user's bucket on.
fn part() -> BucketRange {
    let whole = topology::Extent::around(bucket()).buckets;
    BucketRange::new(bucket(), whole.last()).expect("in order")
}

/// The part is split off and served by `name` at `epoch`.
fn split(world: &World, name: &str, epoch: u64) {
    world.change(|view| {
        let shard = view.map.layout.split(part()).expect("it is at an end");
        view.map.assignments.insert(shard, serving(name, epoch));
    });
}

fn stamp(seen: &Seen) -> &str {
    seen.headers["polis-shard"].to_str().expect("text")
}

#[tokio::test]
async fn who_waits_for_a_shard_goes_on_with_the_part_its_bucket_went_to() {
    let old = Ledger::start(|_| fenced(42, "rz02", 2)).await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address), ("rz02", new.address)]);
    let edge = edge(&world);
    let mut waiting = Vec::new();
    for number in 0..3 {
        let text = format!("{PAY_ONCE} x-request-id=r-{number}");
        let address = edge.address;
        waiting.push(tokio::spawn(async move { send(address, &text, "{}").await }));
        edge.metric_is("polis_edge_hold_requests", number + 1).await;
    }
    // The edge missed the versions in between: the split, and the move of the part.
    split(&world, "rz02", 2);
    for answer in waiting {
        let answer = within(answer).await.expect("no panic");
        assert_eq!((answer.status, answer.body.as_str()), (201, "new"));
        let cookie = format!("zone_op={}; Path=/; HttpOnly; SameSite=Lax", bucket());
        assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));
    }
    let expected = format!("100; unit=rz02; epoch=2; hop=1; buckets={}", part());
    assert!(new.seen().iter().all(|seen| stamp(seen) == expected), "{expected}");
    assert_eq!(new.seen().len(), 3);
    edge.metric_is("polis_edge_hold_requests", 0).await;
    edge.stop().await;
}

#[tokio::test]
async fn an_old_cookie_is_put_right_by_the_shard_that_kept_the_number() {
    let told = || vec![("polis-bucket", bucket().to_string())];
    let left = Ledger::start(move |_| Act::Answer(421, told(), "{}".into())).await;
    let right = Ledger::start(|_| ok("mine")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", left.address), ("rz02", right.address)]);
    split(&world, "rz02", 2);
    let edge = edge(&world);
    let answer = send(edge.address, "POST /v1/payments cookie=zone_op=42", "{}").await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "mine"));
    let cookie = format!("zone_op={}; Path=/; HttpOnly; SameSite=Lax", bucket());
    assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));
    // With the new one it goes there at once.
    let text = format!("POST /v1/payments cookie=zone_op={}", bucket());
    let answer = send(edge.address, &text, "{}").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (201, None));
    assert_eq!((left.seen().len(), right.seen().len()), (1, 2));
    edge.stop().await;
}

#[tokio::test]
async fn a_shard_that_there_is_none_of_is_not_waited_for() {
    let ledger = Ledger::start(|_| ok("{}")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let nothing = send(edge.address, "GET /v1/shards/100/audit", "").await;
    assert_eq!((nothing.status, nothing.code()), (404, errors::UNKNOWN_PATH.to_string()));
    split(&world, "rz01", 1);
    until(|| async {
        let there = send(edge.address, "GET /v1/shards/100/audit", "").await;
        (there.status == 201).then_some(())
    })
    .await;
    let seen = ledger.seen();
    let expected = format!("100; unit=rz01; epoch=1; hop=1; buckets={}", part());
    assert_eq!(stamp(seen.last().expect("one came")), expected);
    edge.stop().await;
}
