//! What a user sees of the edge while shards stay, move and are lost.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::*;
use proxy::{HoldLimits, Limits};

/// Between two tries: only news makes one.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_request_reaches_its_owner_stamped_and_the_answer_comes_back() {
    let ledger = Ledger::start(|_| {
        Act::Answer(201, vec![("polis-unit", "rz01".into())], "{\"ok\":1}".into())
    })
    .await;
    let world = World::new(serving("rz01", 17), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let text = format!("{PAY} x-request-id=r-1 connection=x-hop x-hop=1 traceparent=00-a-b-01");
    let answer = send(edge.address, &text, "{\"payer\":\"2088000420\"}").await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "{\"ok\":1}"));
    assert_eq!(answer.header("polis-unit"), Some("rz01"));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    assert_eq!(answer.header("set-cookie"), Some("zone_op=42; Path=/; HttpOnly; SameSite=Lax"));

    let seen = &ledger.seen()[0];
    let header = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/payments"));
    assert_eq!(seen.body, "{\"payer\":\"2088000420\"}");
    assert_eq!(header("polis-shard"), Some("42; unit=rz01; epoch=17; hop=1"));
    assert_eq!(header("polis-uid"), Some("2088000420"));
    assert_eq!(header("x-request-id"), Some("r-1"));
    assert_eq!(header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header("traceparent"), Some("00-a-b-01"));
    assert_eq!(header("x-hop"), None);
    let left: u64 = header("polis-deadline-ms").and_then(|v| v.parse().ok()).expect("a deadline");
    assert!((1..=30_000).contains(&left), "{left}");
    edge.stop().await;
}

#[tokio::test]
async fn requests_of_a_moving_shard_wait_and_go_on_in_order_of_arrival() {
    let old = Ledger::start(|_| ok("old")).await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address), ("rz02", new.address)]);
    world.assign(42, moving(Some("rz01"), "rz02", 2));
    // One connection to the owner makes its order of arrival the edge's order.
    let edge = run(config(&world, Limits { upstream_connections_max: 1, ..limits() }));
    let mut waiting = Vec::new();
    for number in 0..20 {
        let text = format!("{PAY} x-request-id=r-{number}");
        let address = edge.address;
        waiting.push(tokio::spawn(async move { send(address, &text, "{}").await }));
        edge.metric_is("polis_edge_hold_requests", number + 1).await;
    }
    // Other shards are not touched.
    let other = "POST /v1/payments polis-uid=2088000430 idempotency-key=k2";
    assert_eq!(send(edge.address, other, "{}").await.body, "old");
    world.assign(42, serving("rz02", 2));
    for answer in waiting {
        assert_eq!(within(answer).await.expect("no panic").body, "new");
    }
    let order: Vec<_> =
        new.seen().into_iter().map(|seen| seen.headers["x-request-id"].clone()).collect();
    assert_eq!(order, (0..20).map(|number| format!("r-{number}")).collect::<Vec<_>>());
    edge.metric_is("polis_edge_hold_requests", 0).await;
    edge.metric_is("polis_edge_hold_bytes", 0).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_refusal_by_the_fence_is_replayed_with_its_body_once_the_map_is_newer() {
    let old = Ledger::start(|_| fenced(42, "rz02", 2)).await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address), ("rz02", new.address)]);
    let edge = run(config(&world, Limits { retry_first: NEVER, retry_max: NEVER, ..limits() }));
    // Even without a key: the fence is certain that nothing was applied.
    let address = edge.address;
    let answer = tokio::spawn(async move { send(address, PAY_ONCE, "{\"amount\":5}").await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    world.assign(42, serving("rz02", 2));
    let answer = within(answer).await.expect("no panic");
    assert_eq!((answer.status, answer.body.as_str()), (201, "new"));
    assert_eq!(new.seen()[0].body, "{\"amount\":5}");
    assert_eq!(new.seen()[0].headers["polis-shard"], "42; unit=rz02; epoch=2; hop=1");
    assert_eq!((old.seen().len(), new.seen().len()), (1, 1));
    assert_eq!(edge.metric("polis_edge_misdirected_total").await, 1);
    edge.stop().await;
}

#[tokio::test]
async fn an_owner_that_is_just_taking_over_is_asked_again_by_the_first_in_line_only() {
    let refusals = Arc::new(AtomicUsize::new(8));
    let left = refusals.clone();
    let ledger = Ledger::start(move |_| {
        let refuse = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if refuse.is_ok() { fenced(42, "rz01", 1) } else { ok("mine") }
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    // Long enough for all five to stand in line before anyone tries again.
    let pause = Duration::from_secs(1);
    let edge = run(config(&world, Limits { retry_first: pause, retry_max: pause, ..limits() }));
    let sends = (0..5).map(|number| {
        let text = format!("{PAY_ONCE} x-request-id=r-{number}");
        let address = edge.address;
        async move { send(address, &text, "{}").await }
    });
    for answer in futures::future::join_all(sends).await {
        assert_eq!(answer.body, "mine");
    }
    let ids: Vec<_> =
        ledger.seen().iter().map(|seen| seen.headers["x-request-id"].clone()).collect();
    // Everyone at most once; then one request tries for all, until it is the one that
    // is served; then the others at once.
    let first = &ids[5];
    assert!(ids[5..9].iter().all(|id| id == first), "{ids:?}");
    assert_eq!(ids.len(), 13);
    edge.stop().await;
}

#[tokio::test]
async fn who_comes_while_others_wait_for_a_refusing_owner_stands_behind_them() {
    let refusing = Arc::new(AtomicBool::new(true));
    let refuse = refusing.clone();
    let ledger = Ledger::start(move |_| {
        if refuse.load(Ordering::SeqCst) { fenced(42, "rz01", 1) } else { ok("mine") }
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    // Longer than any answer takes: the line does not go on without the first.
    let pause = Duration::from_secs(1);
    let limits = Limits { retry_first: pause, retry_max: pause, ..limits() };
    let edge = run(config(&world, Limits { upstream_connections_max: 1, ..limits }));
    let mut waiting = Vec::new();
    for number in 0..5 {
        let text = format!("{PAY_ONCE} x-request-id=r-{number}");
        let address = edge.address;
        waiting.push(tokio::spawn(async move { send(address, &text, "{}").await }));
        edge.metric_is("polis_edge_hold_requests", number + 1).await;
    }
    let ids = || -> Vec<_> {
        ledger.seen().iter().map(|seen| seen.headers["x-request-id"].clone()).collect()
    };
    assert!(ids().iter().all(|id| id == "r-0"), "the first asks for all: {:?}", ids());
    refusing.store(false, Ordering::SeqCst);
    for answer in waiting {
        assert_eq!(within(answer).await.expect("no panic").body, "mine");
    }
    let ids = ids();
    assert_eq!(ids[ids.len() - 5..], ["r-0", "r-1", "r-2", "r-3", "r-4"]);
    // Nobody is in line any more: no wait, no second try.
    assert_eq!(send(edge.address, PAY_ONCE, "{}").await.body, "mine");
    assert_eq!(ledger.seen().len(), ids.len() + 1);
    edge.stop().await;
}

#[tokio::test]
async fn those_behind_go_on_when_the_first_leaves_is_late_or_gets_no_answer() {
    let refusing = Arc::new(AtomicBool::new(true));
    let refuse = refusing.clone();
    let ledger = Ledger::start(move |seen| match seen.headers["x-request-id"].to_str() {
        _ if refuse.load(Ordering::SeqCst) => fenced(42, "rz01", 1),
        Ok("silent") => Act::Silent,
        _ => ok("mine"),
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let start = |id: &str| {
        let (address, text) = (edge.address, format!("{PAY_ONCE} x-request-id={id}"));
        tokio::spawn(async move { send(address, &text, "{}").await })
    };
    let left = start("left");
    edge.metric_is("polis_edge_hold_requests", 1).await;
    // Late only after the others have come, however slow they are.
    let late = start("late polis-deadline-ms=10000");
    edge.metric_is("polis_edge_hold_requests", 2).await;
    let silent = start("silent");
    edge.metric_is("polis_edge_hold_requests", 3).await;
    let last = start("last");
    edge.metric_is("polis_edge_hold_requests", 4).await;
    left.abort();
    let late = within(late).await.expect("no panic");
    assert!(is_late(&late), "{late:?}");
    refusing.store(false, Ordering::SeqCst);
    assert_eq!(within(last).await.expect("no panic").body, "mine");
    assert!(!silent.is_finished());
    silent.abort();
    edge.stop().await;
}

/// At its deadline the first in line waits for its next turn or has just taken
/// it; then nobody knows what has become of that.
fn is_late(answer: &Answer) -> bool {
    match answer.status {
        503 => answer.code() == errors::SHARD_UNAVAILABLE.to_string(),
        504 => answer.code() == errors::OUTCOME_UNKNOWN.to_string(),
        _ => false,
    }
}

#[tokio::test]
async fn nobody_stands_behind_one_that_hangs_at_the_former_owner() {
    let tries = AtomicUsize::new(0);
    let old = Ledger::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => fenced(42, "rz01", 1),
        _ => Act::Silent,
    })
    .await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address), ("rz02", new.address)]);
    let pause = Duration::from_secs(8);
    let edge = run(config(&world, Limits { retry_first: pause, retry_max: pause, ..limits() }));
    let address = edge.address;
    // What may not be repeated waits for its answer, whoever owns the shard now.
    let hangs = tokio::spawn(async move { send(address, PAY_ONCE, "{}").await });
    old.has_seen(2).await;
    world.assign(42, serving("rz02", 2));
    edge.metric_is("polis_edge_table_version", 2).await;
    // Sooner than anyone in line would have its turn.
    let text = format!("{PAY_ONCE} polis-deadline-ms=4000");
    assert_eq!(send(edge.address, &text, "{}").await.body, "new");
    assert!(!hangs.is_finished());
    hangs.abort();
    edge.stop().await;
}

#[tokio::test]
async fn an_older_stamp_of_the_same_unit_waits_for_the_newer_epoch_and_is_replayed() {
    let ledger = Ledger::start(|seen| match seen.headers["polis-shard"].to_str() {
        Ok("42; unit=rz01; epoch=4; hop=1") => ok("mine"),
        _ => fenced(42, "rz01", 4),
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = run(config(&world, Limits { retry_first: NEVER, retry_max: NEVER, ..limits() }));
    let address = edge.address;
    let answer = tokio::spawn(async move { send(address, PAY_ONCE, "{\"amount\":5}").await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    // The map comes by epochs that are behind the fence: they are not tried.
    for (version, assignment) in (2..).zip([
        moving(Some("rz01"), "rz02", 2),
        serving("rz02", 2),
        moving(Some("rz02"), "rz01", 3),
        serving("rz01", 3),
        moving(None, "rz01", 4),
    ]) {
        world.assign(42, assignment);
        edge.metric_is("polis_edge_table_version", version).await;
        assert_eq!(edge.metric("polis_edge_hold_requests").await, 1);
    }
    world.assign(42, serving("rz01", 4));
    let answer = within(answer).await.expect("no panic");
    assert_eq!((answer.status, answer.body.as_str()), (201, "mine"));
    let bodies: Vec<_> = ledger.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["{\"amount\":5}"; 2]);
    edge.stop().await;
}

#[tokio::test]
async fn a_fence_that_stays_ahead_of_the_map_costs_a_few_tries_and_ends_at_the_deadline() {
    let ledger = Ledger::start(|_| fenced(42, "rz01", 9)).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let pause = Duration::from_millis(200);
    let edge = run(config(&world, Limits { retry_first: pause, retry_max: pause, ..limits() }));
    let sends = (0..5).map(|number| {
        let text = format!("{PAY_ONCE} x-request-id=r-{number} polis-deadline-ms=2000");
        let address = edge.address;
        async move { send(address, &text, "{}").await }
    });
    let moves = async {
        for epoch in 2..6 {
            world.assign(42, moving(Some("rz01"), "rz01", epoch));
            world.assign(42, serving("rz01", epoch));
        }
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(sends), moves);
    for answer in &answers {
        assert!(is_late(answer), "{answer:?}");
    }
    // Refused by the fence every time, so certainly not applied; only the first
    // in line may be on its way at its deadline.
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(refused >= 3, "{answers:?}");
    // Once each at most, then one for all per pause of at least 100 ms; they do
    // not all begin, and end, at the same time.
    let tries = ledger.seen().len();
    assert!((2..=5 + 2_000 / 100 + 25).contains(&tries), "{tries}");
    edge.stop().await;
}

#[tokio::test]
async fn an_owner_that_refused_is_asked_again_when_it_has_another_endpoint() {
    let old = Ledger::start(|_| fenced(42, "rz01", 1)).await;
    let new = Ledger::start(|_| ok("restarted")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address)]);
    let edge = run(config(&world, Limits { retry_first: NEVER, retry_max: NEVER, ..limits() }));
    let address = edge.address;
    let answer = tokio::spawn(async move { send(address, PAY_ONCE, "{}").await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    for endpoints in [vec![], vec![new.address]] {
        world.change(|view| {
            view.endpoints.insert(unit("rz01"), endpoints);
        });
    }
    assert_eq!(within(answer).await.expect("no panic").body, "restarted");
    assert_eq!((old.seen().len(), new.seen().len()), (1, 1));
    edge.stop().await;
}

#[tokio::test]
async fn a_request_with_a_silent_owner_is_replayed_at_the_new_one_when_the_shard_fails_over() {
    let paused = Ledger::start(|_| Act::Silent).await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", paused.address), ("rz02", new.address)]);
    let edge = edge(&world);
    let address = edge.address;
    let answer = tokio::spawn(async move { send(address, PAY, "{}").await });
    paused.has_seen(1).await;
    world.assign(42, moving(None, "rz02", 2));
    edge.metric_is("polis_edge_hold_requests", 1).await;
    world.assign(42, serving("rz02", 2));
    let answer = within(answer).await.expect("no panic");
    assert_eq!((answer.status, answer.body.as_str()), (201, "new"));
    assert_eq!(edge.metric("polis_edge_superseded_total").await, 1);
    edge.stop().await;
}

#[tokio::test]
async fn an_owner_that_hands_over_by_plan_finishes_what_it_has_begun() {
    let (answer_now, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = std::sync::Mutex::new(Some(wait));
    let old = Ledger::start(move |_| {
        Act::After(wait.lock().expect("no panic").take().expect("asked once"), "old")
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", old.address)]);
    let edge = edge(&world);
    let address = edge.address;
    let answer = tokio::spawn(async move { send(address, PAY, "{}").await });
    old.has_seen(1).await;
    world.assign(42, moving(Some("rz01"), "rz02", 2));
    edge.metric_is("polis_edge_table_version", 2).await;
    answer_now.send(()).expect("the ledger waits");
    assert_eq!(within(answer).await.expect("no panic").body, "old");
    assert_eq!(edge.metric("polis_edge_superseded_total").await, 0);
    edge.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_again_only_where_that_is_harmless() {
    let first = Arc::new(AtomicUsize::new(0));
    let count = first.clone();
    let ledger = Ledger::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => Act::Break,
        _ => ok("again"),
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    assert_eq!(send(edge.address, PAY, "{}").await.body, "again");
    let answer = send(edge.address, PAY_ONCE, "{}").await;
    assert_eq!((answer.status, answer.code()), (502, errors::OUTCOME_UNKNOWN.to_string()));
    assert_eq!(ledger.seen().len(), 3);
    edge.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_every_wait_and_says_what_is_known() {
    let silent = Ledger::start(|_| Act::Silent).await;
    let world = World::new(serving("rz01", 1), &[("rz01", silent.address)]);
    world.assign(7, moving(None, "rz01", 2));
    let edge = edge(&world);
    let check = async |text: &str, deadline_ms: u32, status: u16, code: errors::Code| {
        let text = format!("{text} polis-deadline-ms={deadline_ms}");
        let answer = send(edge.address, &text, "").await;
        assert_eq!((answer.status, answer.code()), (status, code.to_string()), "{text}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{text}");
    };
    check("POST /v1/payments cookie=zone_op=07", 50, 503, errors::SHARD_UNAVAILABLE).await;
    check("GET /v1/shards/07/audit", 50, 503, errors::SHARD_UNAVAILABLE).await;
    // Long enough for a try to be on its way.
    check(PAY, 2_000, 504, errors::OUTCOME_UNKNOWN).await;
    check("GET /v1/accounts/2088000420", 2_000, 504, errors::OWNER_SILENT).await;
    edge.metric_is("polis_edge_requests_in_flight", 0).await;
    // Given up means closed: a silent owner keeps no connection of ours.
    edge.metric_is("polis_edge_upstream_connections", 0).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_payment_that_was_tried_and_then_waits_in_vain_is_unknown_and_not_refused() {
    let ledger = Ledger::start(|_| Act::Break).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let answer = send(edge.address, &format!("{PAY} polis-deadline-ms=2000"), "{}").await;
    assert_eq!((answer.status, answer.code()), (504, errors::OUTCOME_UNKNOWN.to_string()));
    edge.stop().await;
}

#[tokio::test]
async fn a_full_hold_queue_refuses_the_next_and_a_user_who_leaves_makes_room() {
    let world = World::new(moving(None, "rz01", 1), &[]);
    let hold = HoldLimits { requests_max: 2, bytes_max: 1 << 20, requests_per_shard_max: 2 };
    let edge = run(config(&world, Limits { hold, ..limits() }));
    let mut users = Vec::new();
    for count in 1..=2 {
        let mut user = connect(edge.address).await;
        users.push(tokio::spawn(async move { user.send_request(request(PAY, "{}")).await }));
        edge.metric_is("polis_edge_hold_requests", count).await;
    }
    let answer = send(edge.address, PAY, "{}").await;
    assert_eq!((answer.status, answer.code()), (503, errors::HOLD_QUEUE_FULL.to_string()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    users.pop().expect("two users").abort();
    edge.metric_is("polis_edge_hold_requests", 1).await;
    drop(edge);
}

#[tokio::test]
async fn an_owner_that_cannot_be_reached_is_probed_and_served_when_it_is_back() {
    // Bound and not listening: nobody is there, and nobody else can come.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    let address = socket.local_addr().expect("an address");
    let world = World::new(serving("rz01", 1), &[("rz01", address)]);
    let edge = edge(&world);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let address = edge.address;
            tokio::spawn(async move { send(address, PAY_ONCE, "{}").await })
        })
        .collect();
    edge.metric_is("polis_edge_hold_requests", 10).await;
    let back = Ledger::start_on(socket.listen(64).expect("listen"), |_| ok("back"));
    for answer in waiting {
        assert_eq!(within(answer).await.expect("no panic").body, "back");
    }
    assert_eq!(back.seen().len(), 10);
    edge.stop().await;
}

#[tokio::test]
async fn a_killed_owner_loses_no_request_that_may_be_repeated() {
    let killed = Ledger::start(|_| Act::Silent).await;
    let new = Ledger::start(|_| ok("new")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", killed.address), ("rz02", new.address)]);
    let edge = edge(&world);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let address = edge.address;
            tokio::spawn(async move { send(address, PAY, "{}").await })
        })
        .collect();
    killed.has_seen(20).await;
    killed.kill().await;
    edge.metric_is("polis_edge_hold_requests", 20).await;
    world.assign(42, moving(None, "rz02", 2));
    world.assign(42, serving("rz02", 2));
    for answer in waiting {
        assert_eq!(within(answer).await.expect("no panic").body, "new");
    }
    edge.stop().await;
}

#[tokio::test]
async fn an_answer_streams_through_piece_by_piece() {
    use http_body_util::BodyExt;
    let (pieces, stream) = tokio::sync::mpsc::unbounded_channel();
    let stream = std::sync::Mutex::new(Some(stream));
    let ledger = Ledger::start(move |_| {
        Act::Stream(stream.lock().expect("no panic").take().expect("asked once"))
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let mut user = connect(edge.address).await;
    let text = "GET /v1/shards/42/payments?mark=load";
    let mut response = within(user.send_request(request(text, ""))).await.expect("a head");
    for piece in ["{\"a\":1}\n", "{\"b\":2}\n"] {
        pieces.send(piece.into()).expect("the ledger listens");
        let frame = within(response.frame()).await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), piece);
    }
    drop(pieces);
    assert!(within(response.frame()).await.is_none());
    assert_eq!(ledger.seen()[0].path, "/v1/shards/42/payments?mark=load");
    edge.stop().await;
}
