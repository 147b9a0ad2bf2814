//! What routes and clusters are told to do with requests, seen at both ends:
//! by clients and by origins whose answers the tests decide.

mod policies_parts;

use std::{net::Ipv4Addr, time::Duration};

use policies_parts::{Client, Deaf, LIMIT, Message, Origin, Serving, Way, next, one, request};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

const OK: Way = Way::Answer(200);

/// Where clients are.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Every request is the first's, and another's only when that one has failed it.
const NEAR_AND_FAR: &str = "limits = { threads = 1 }\nplace = { center = 'near' }\n{LISTENER}
[[listener.route]]\nname = 'all'\ncluster = 'both'\n{ROUTE}
[[cluster]]\nname = 'both'\nconnect_timeout = '300ms'
endpoints = [{ address = '{A}', center = 'near' }, { address = '{B}', center = 'far' }]";

fn near_and_far(route: &str) -> String {
    NEAR_AND_FAR.replace("{ROUTE}", route)
}

// === Retries ===

#[tokio::test]
async fn retries_under_way_stay_within_the_budget() {
    let check = async |budget: &str, expected: usize| {
        let (near, far) = (Origin::start(Way::Hold).await, Origin::start(Way::Hold).await);
        let route = near_and_far(&format!("retry = {{ attempts = 1, on = [503], {budget} }}"));
        let proxy = Serving::start(&route, &[near.address, far.address]).await;
        let mut asking = proxy.get_all(20);
        near.asks(20).await;
        near.does(Way::Answer(503));
        for _ in expected..20 {
            let answer = next(&mut asking).await;
            assert_eq!(answer.told(), (503, None), "{budget}");
            assert!(near.gave(&answer), "what the service said is passed on");
        }
        far.does(OK);
        while let Some(answer) = asking.join_next().await {
            assert!(far.gave(&answer.expect("whole")));
        }
        assert_eq!(far.count(), expected, "{budget}");
        // They are over, so that the next may be tried again.
        assert_eq!(proxy.get("/").await.status(), 200);
        proxy.drain().await;
    };
    check("budget_percent = 20, budget_min = 1", 4).await;
    check("budget_percent = 0, budget_min = 2", 2).await;
}

#[tokio::test]
async fn a_try_that_hangs_is_given_up_for_another_endpoint_if_twice_is_as_good_as_once() {
    let (near, far) = (Origin::start(Way::Hold).await, Origin::start(OK).await);
    let route = near_and_far("retry = { attempts = 1, try_timeout = '1s' }");
    let proxy = Serving::start(&route, &[near.address, far.address]).await;
    let mut got = JoinSet::new();
    got.spawn(proxy.get("/"));
    got.spawn(proxy.send(request("POST", "/", &["idempotency-key: 7"], "pay")));
    let posted = proxy.send(request("POST", "/", &[], "pay")).await;
    assert_eq!(posted.told(), (504, Some("PLS0436")));
    for _ in 0..2 {
        assert!(far.gave(&next(&mut got).await));
    }
    assert_eq!(far.count(), 2);
    proxy.drain().await;
}

#[tokio::test]
async fn an_answer_that_may_not_be_asked_for_twice_is_passed_on_or_told_as_lost() {
    let (near, far) = (Origin::start(Way::Answer(503)).await, Origin::start(OK).await);
    let route = near_and_far("retry = { attempts = 1, on = [503] }");
    let proxy = Serving::start(&route, &[near.address, far.address]).await;
    let post = || proxy.send(request("POST", "/", &[], "pay"));
    assert!(near.gave(&post().await));
    near.does(Way::HangUp);
    let lost = post().await;
    assert_eq!(lost.told(), (502, Some("PLS0435")));
    assert!(lost.body.contains("the outcome is unknown"), "{}", lost.body);
    assert_eq!((near.count(), far.count()), (2, 0));
    // The same happens to who may be asked twice, and it sees nothing of it.
    assert!(far.gave(&proxy.get("/").await));
    near.does(Way::Answer(503));
    assert!(far.gave(&proxy.get("/").await));
    proxy.drain().await;
}

#[tokio::test]
async fn an_endpoint_that_accepts_nobody_is_passed_over_whatever_is_asked() {
    let (deaf, far) = (Deaf::start().await, Origin::start(OK).await);
    let proxy = Serving::start(&near_and_far(""), &[deaf.address, far.address]).await;
    let began = Instant::now();
    let answer = proxy.send(request("POST", "/", &[], "pay")).await;
    assert!(far.gave(&answer), "{answer:?}");
    assert!(began.elapsed() >= Duration::from_millis(300), "it was not waited for");
    assert_eq!(far.asked()[0].body, "pay");
    proxy.drain().await;
}

/// A connection that idled and ends under a request is no try: that one is still
/// to come, and finds nobody there.
#[tokio::test]
async fn a_connection_that_ends_under_a_request_does_not_use_its_retry_up() {
    let (near, far) = (Origin::start(OK).await, Origin::start(OK).await);
    let route = near_and_far("retry = { attempts = 1 }");
    let proxy = Serving::start(&route, &[near.address, far.address]).await;
    assert!(near.gave(&proxy.get("/").await));
    near.does(Way::Hold);
    let asking = tokio::spawn(proxy.get("/"));
    near.asks(2).await;
    near.leave();
    let answer = asking.await.expect("whole");
    assert!(far.gave(&answer), "{answer:?}");
    assert_eq!(near.connections(), 1);
    proxy.drain().await;
}

// === Breakers ===

const OVERFLOW: (u16, Option<&str>) = (503, Some("PLS0433"));

#[tokio::test]
async fn a_request_beyond_the_limit_of_all_threads_is_refused_at_once() {
    let origin = Origin::start(Way::Hold).await;
    let config = one("", "limits = { requests = 4 }").replace("threads = 1", "threads = 2");
    let proxy = Serving::start(&config, &[origin.address]).await;
    let mut asking = proxy.get_all(10);
    for _ in 4..10 {
        assert_eq!(next(&mut asking).await.told(), OVERFLOW);
    }
    origin.does(OK);
    for _ in 0..4 {
        assert_eq!(next(&mut asking).await.status(), 200);
    }
    assert_eq!(origin.count(), 4);
    assert_eq!(proxy.get("/").await.status(), 200);
    proxy.drain().await;
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_not_made() {
    let origin = Origin::start(Way::Hold).await;
    let config = one("", "limits = { connections = 2, pending = 0 }");
    let proxy = Serving::start(&config, &[origin.address]).await;
    let mut asking = proxy.get_all(3);
    assert_eq!(next(&mut asking).await.told(), OVERFLOW);
    origin.does(OK);
    for _ in 0..2 {
        assert_eq!(next(&mut asking).await.status(), 200);
    }
    assert_eq!(origin.connections(), 2);
    assert_eq!(proxy.get("/").await.status(), 200);
    proxy.drain().await;
}

/// Of three at once, one has the only connection and one waits for it.
async fn one_waits(origin: &Origin) -> Serving {
    let room = "connect_timeout = '30s'\nlimits = { connections = 1, pending = 1 }";
    let proxy = Serving::start(&one("", room), &[origin.address]).await;
    let mut asking = proxy.get_all(3);
    assert_eq!(next(&mut asking).await.told(), OVERFLOW);
    origin.does(OK);
    for _ in 0..2 {
        assert_eq!(next(&mut asking).await.status(), 200);
    }
    assert_eq!(proxy.get("/").await.status(), 200);
    proxy
}

#[tokio::test]
async fn as_many_as_are_allowed_wait_for_a_connection_and_the_next_is_refused() {
    let origin = Origin::start(Way::Hold).await;
    let proxy = one_waits(&origin).await;
    assert_eq!(origin.count(), 3);
    proxy.drain().await;
}

#[tokio::test]
async fn who_waits_for_a_connection_gets_the_one_that_is_free_and_not_a_new_one() {
    let origin = Origin::start(Way::Hold).await;
    let proxy = one_waits(&origin).await;
    assert_eq!(origin.connections(), 1);
    proxy.drain().await;
}

#[tokio::test]
async fn a_connection_that_idles_at_one_endpoint_makes_room_for_one_to_another() {
    let (a, b) = (Origin::start(OK).await, Origin::start(OK).await);
    let config = one("", "balance = 'round-robin'\nlimits = { connections = 1 }");
    let proxy = Serving::start(&config, &[a.address, b.address]).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.told(), (200, None));
    }
    assert_eq!((a.count(), b.count()), (2, 2));
    proxy.drain().await;
}

// === Outliers ===

/// Asks until `origin` has been asked so often, and says when the last began.
async fn ask_until(client: &mut Client, origin: &Origin, count: usize) -> Instant {
    let asked = async {
        loop {
            let began = Instant::now();
            client.get().await;
            if origin.count() >= count {
                return began;
            }
        }
    };
    timeout(LIMIT, asked).await.expect("it is asked")
}

#[tokio::test]
async fn who_fails_in_a_row_is_left_alone_and_each_time_for_longer() {
    let (bad, good) = (Origin::start(Way::Answer(500)).await, Origin::start(OK).await);
    let outlier = "balance = 'round-robin'\noutlier = { consecutive = 3, base = '300ms' }";
    let proxy = Serving::start(&one("", outlier), &[bad.address, good.address]).await;
    let mut client = proxy.client(HERE).await;
    for (failed, alone) in [(3, 300), (6, 600)] {
        let ejected = ask_until(&mut client, &bad, failed).await;
        // Without being left alone, every second turn were its own.
        ask_until(&mut client, &bad, failed + 1).await;
        // It is counted in whole milliseconds.
        assert!(ejected.elapsed() >= Duration::from_millis(alone - 1), "{failed}");
    }
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn failures_that_are_not_in_a_row_eject_nobody() {
    let (shaky, good) = (Origin::start(OK).await, Origin::start(OK).await);
    let outlier = "balance = 'round-robin'\noutlier = { consecutive = 2, base = '1h' }";
    let proxy = Serving::start(&one("", outlier), &[shaky.address, good.address]).await;
    for round in 0..10 {
        shaky.does(Way::Answer(if round % 2 == 0 { 500 } else { 200 }));
        proxy.get("/").await;
        proxy.get("/").await;
    }
    assert_eq!((shaky.count(), good.count()), (10, 10));
    proxy.drain().await;
}

#[tokio::test]
async fn no_more_than_the_share_allowed_are_left_alone() {
    let (a, b) = (Origin::start(Way::Answer(500)).await, Origin::start(Way::Answer(500)).await);
    let outlier = "balance = 'round-robin'
outlier = { consecutive = 2, base = '1h', percent_max = 50 }";
    let proxy = Serving::start(&one("", outlier), &[a.address, b.address]).await;
    for _ in 0..40 {
        assert_eq!(proxy.get("/").await.status(), 500);
    }
    let (least, most) = (a.count().min(b.count()), a.count().max(b.count()));
    assert_eq!((least, most), (2, 38), "one is ejected, the other has to stay");
    proxy.drain().await;
}

// === Balance ===

/// Asked one after the other, though nobody waits for the answers.
#[tokio::test]
async fn who_does_not_answer_gets_no_more_than_what_is_drawn_for_it_alone() {
    let (held, quick) = (Origin::start(Way::Hold).await, Origin::start(OK).await);
    let proxy = Serving::start(&one("", ""), &[held.address, quick.address]).await;
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (of_held, of_quick) = (held.count() + 1, quick.count() + 1);
        asking.spawn(proxy.get("/"));
        tokio::select! { () = held.asks(of_held) => {}, () = quick.asks(of_quick) => {} }
    }
    // Both draws are the held one's in a quarter of the cases.
    let share = quick.count();
    assert!(share > 125, "{share} of 200");
    drop(asking);
    proxy.drain().await;
}

#[tokio::test]
async fn who_was_slow_once_is_spared_for_a_while() {
    let slow = Way::Late(Duration::from_millis(500));
    let (late, quick) = (Origin::start(slow).await, Origin::start(OK).await);
    let proxy = Serving::start(&one("", ""), &[late.address, quick.address]).await;
    let mut client = proxy.client(HERE).await;
    ask_until(&mut client, &late, 1).await;
    late.does(OK);
    let before = quick.count();
    for _ in 0..200 {
        client.get().await;
    }
    let share = quick.count() - before;
    assert!(share > 125, "{share} of 200");
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn a_key_keeps_its_endpoint_when_another_one_goes() {
    let mut origins = Vec::new();
    for _ in 0..4 {
        origins.push(Origin::start(OK).await);
    }
    let config = one("key = { header = 'x-uid' }", "balance = 'hash'");
    let homes = async |endpoints: &[Origin]| {
        let addresses: Vec<_> = endpoints.iter().map(|origin| origin.address).collect();
        let proxy = Serving::start(&config, &addresses).await;
        let (mut client, mut homes) = (proxy.client(HERE).await, Vec::new());
        for round in 0..80 {
            let uid = format!("x-uid: {}", round % 40);
            homes.push(client.send(&request("GET", "/", &[&uid], "")).await.body);
        }
        drop(client);
        proxy.drain().await;
        homes
    };
    let all = homes(&origins).await;
    assert_eq!(all[..40], all[40..], "the same key, the same endpoint");
    let gone = origins.pop().expect("four").address.port().to_string();
    let left = homes(&origins).await;
    assert!(!left.contains(&gone));
    let mut moved = all.iter().zip(&left).filter(|(all, left)| all != left);
    assert!(moved.all(|(home, _)| *home == gone), "{all:?} {left:?}");
    let has = |home: &str| all.iter().any(|known| known == home);
    assert!(has(&gone) && origins.iter().all(|origin| has(&origin.address.port().to_string())));
}

// === Places ===

const PLACES: &str = "limits = { threads = 1 }
place = { city = 'east', center = 'east-1' }\n{LISTENER}
[[listener.route]]\nname = 'all'\ncluster = 'all'
[[cluster]]\nname = 'all'\nspill = '{SPILL}'
outlier = { consecutive = 1, base = '1h', percent_max = 100 }
endpoints = [
  { address = '{A}', city = 'east', center = 'east-1' },
  { address = '{B}', city = 'east', center = 'east-2' },
  { address = '{C}', city = 'west', center = 'west-1' },
]";

/// How often each was asked, in ten rounds before the nearest fails, ten until
/// the next does, and ten more.
async fn asked_as_they_fail(spill: &str) -> [usize; 3] {
    let [a, b, c] = [Origin::start(OK).await, Origin::start(OK).await, Origin::start(OK).await];
    let addresses = [a.address, b.address, c.address];
    let proxy = Serving::start(&PLACES.replace("{SPILL}", spill), &addresses).await;
    for failing in [Some(&a), Some(&b), None] {
        for _ in 0..10 {
            proxy.get("/").await;
        }
        if let Some(origin) = failing {
            origin.does(Way::Answer(500));
        }
    }
    proxy.drain().await;
    [a.count(), b.count(), c.count()]
}

#[tokio::test]
async fn endpoints_elsewhere_are_asked_when_the_nearer_fail_and_where_that_is_allowed() {
    // One failure each, and then the next: whoever is left has the rest.
    assert_eq!(asked_as_they_fail("everywhere").await, [11, 10, 9]);
    assert_eq!(asked_as_they_fail("never").await, [30, 0, 0]);
    // None in the city is well in the end, so that either may be asked.
    let [here, beside, elsewhere] = asked_as_they_fail("city").await;
    assert!(here >= 11 && beside >= 10 && elsewhere == 0, "{here} {beside} {elsewhere}");
}

/// With one endpoint there is nothing to choose, but whether to ask it at all.
#[tokio::test]
async fn an_only_endpoint_elsewhere_is_not_asked_where_that_is_not_allowed() {
    let elsewhere = Origin::start(OK).await;
    let config = "limits = { threads = 1 }\nplace = { city = 'east', center = 'east-1' }
{LISTENER}\n[[listener.route]]\nname = 'all'\ncluster = 'one'
[[cluster]]\nname = 'one'\nspill = 'never'
endpoints = [{ address = '{A}', city = 'west', center = 'west-1' }]";
    let proxy = Serving::start(config, &[elsewhere.address]).await;
    assert_eq!(proxy.get("/").await.told(), (503, Some("PLS0434")));
    assert_eq!(elsewhere.count(), 0);
    proxy.drain().await;
}

// === Faults ===

#[tokio::test]
async fn a_fault_of_all_requests_delays_or_ends_each_of_them() {
    let origin = Origin::start(OK).await;
    let slow = one("fault = { delay = { time = '200ms' } }", "");
    let proxy = Serving::start(&slow, &[origin.address]).await;
    let began = Instant::now();
    assert_eq!(proxy.get("/").await.status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    proxy.drain().await;
    let broken = one("fault = { abort = { status = 418, percent = 100 } }", "");
    let proxy = Serving::start(&broken, &[origin.address]).await;
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.told(), (418, Some("PLS0438")));
    }
    assert_eq!(origin.count(), 1, "those before the fault");
    proxy.drain().await;
}

#[tokio::test]
async fn a_fault_of_no_requests_never_comes() {
    let origin = Origin::start(OK).await;
    let fault = "{ delay = { time = '1h', percent = 0 }, abort = { status = 503, percent = 0 } }";
    let config = one(&format!("fault = {fault}"), "");
    let proxy = Serving::start(&config, &[origin.address]).await;
    let mut client = proxy.client(HERE).await;
    for _ in 0..100 {
        assert_eq!(client.get().await.status(), 200);
    }
    drop(client);
    proxy.drain().await;
}

/// The timeout is of the whole request, whatever takes its time.
#[tokio::test]
async fn a_delay_on_purpose_ends_with_the_timeout() {
    let origin = Origin::start(OK).await;
    let config = one("timeout = '200ms'\nfault = { delay = { time = '1h' } }", "");
    let proxy = Serving::start(&config, &[origin.address]).await;
    assert_eq!(proxy.get("/").await.status(), 504);
    assert_eq!(origin.count(), 0);
    proxy.drain().await;
}

// === Rate limits ===

/// A burst of two an hour: what is used up stays so for the test.
fn limited(by: &str, more: &str) -> String {
    one(&format!("rate_limit = {{ requests = 2, per = '1h', by = '{by}' }}\n{more}"), "")
}

fn refused_by_limit(answer: &Message) -> bool {
    let after = answer.value("retry-after").map(|after| after.parse::<u64>().expect("seconds"));
    answer.told() == (429, Some("PLS0437")) && after.is_some_and(|after| after > 0)
}

#[tokio::test]
async fn a_route_takes_its_burst_and_says_when_to_come_again() {
    let origin = Origin::start(OK).await;
    let proxy = Serving::start(&limited("route", ""), &[origin.address]).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let refused = proxy.get("/").await;
    assert!(refused_by_limit(&refused), "{refused:?}");
    let other = proxy.client(THERE).await.get().await;
    assert!(refused_by_limit(&other), "whoever asks");
    assert_eq!(origin.count(), 2);
    proxy.drain().await;
}

#[tokio::test]
async fn every_client_has_a_limit_of_its_own() {
    let origin = Origin::start(OK).await;
    let proxy = Serving::start(&limited("client", ""), &[origin.address]).await;
    for address in [HERE, THERE] {
        let mut client = proxy.client(address).await;
        assert_eq!((client.get().await.status(), client.get().await.status()), (200, 200));
        assert!(refused_by_limit(&proxy.client(address).await.get().await));
    }
    proxy.drain().await;
}

#[tokio::test]
async fn every_key_has_a_limit_of_its_own() {
    let origin = Origin::start(OK).await;
    let config = limited("key", "key = { header = 'x-uid' }");
    let proxy = Serving::start(&config, &[origin.address]).await;
    for uid in ["x-uid: 1", "x-uid: 2"] {
        let get = || proxy.send(request("GET", "/", &[uid], ""));
        assert_eq!((get().await.status(), get().await.status()), (200, 200));
        assert!(refused_by_limit(&get().await));
    }
    proxy.drain().await;
}

// === Headers and paths ===

#[tokio::test]
async fn headers_are_removed_then_set_then_added_both_ways() {
    let origin = Origin::start(OK).await;
    let rules = "{ remove = ['x-gone', 'server'], set = { x-stamp = 'proxy' }, \
                 add = { x-tag = 'proxy', x-gone = 'new' } }";
    let config = one(&format!("request_headers = {rules}\nresponse_headers = {rules}"), "");
    let proxy = Serving::start(&config, &[origin.address]).await;
    let lines = ["X-Gone: 1", "x-gone: 2", "x-stamp: 1", "x-stamp: 2", "x-tag: client"];
    let answer = proxy.send(request("GET", "/", &lines, "")).await;
    let asked = &origin.asked()[0];
    assert_eq!(asked.values("x-gone"), ["new"]);
    assert_eq!(asked.values("x-stamp"), ["proxy"]);
    assert_eq!(asked.values("x-tag"), ["client", "proxy"]);
    assert_eq!(answer.values("server"), [""; 0]);
    assert_eq!(answer.values("x-stamp"), ["proxy"]);
    assert_eq!(answer.values("x-tag"), ["origin", "proxy"]);
    proxy.drain().await;
}

/// One route with a prefix that is replaced, and one for all that is left.
async fn rewritten(prefix: &str, with: &str, pairs: &[(&str, &str)]) {
    let origin = Origin::start(OK).await;
    let config = format!(
        "limits = {{ threads = 1 }}\n{{LISTENER}}
[[listener.route]]\nname = 'moved'\nmatch = {{ path_prefix = '{prefix}' }}
rewrite_prefix = '{with}'\ncluster = 'one'
[[listener.route]]\nname = 'rest'\ncluster = 'one'
[[cluster]]\nname = 'one'\nendpoints = {{ENDPOINTS}}"
    );
    let proxy = Serving::start(&config, &[origin.address]).await;
    for (path, _) in pairs {
        assert_eq!(proxy.get(path).await.status(), 200);
    }
    let asked = origin.asked();
    let asked: Vec<_> =
        pairs.iter().zip(&asked).map(|((path, _), m)| (*path, m.target())).collect();
    assert_eq!(asked, pairs, "{prefix} to {with}");
    proxy.drain().await;
}

#[tokio::test]
async fn a_prefix_is_replaced_in_whole_segments_and_the_rest_is_kept() {
    let pairs = [
        ("/pay/1?a=b&c=/pay", "/v2/money/1?a=b&c=/pay"),
        ("/pay?a=b", "/v2/money?a=b"),
        ("/pay/", "/v2/money/"),
        ("/pay/pay", "/v2/money/pay"),
        ("/payroll/1?a=b", "/payroll/1?a=b"),
    ];
    rewritten("/pay", "/v2/money", &pairs).await;
    rewritten("/pay", "/", &[("/pay/1?a=b", "/1?a=b"), ("/pay", "/"), ("/pay?a=b", "/?a=b")]).await;
    rewritten("/pay/", "/v2", &[("/pay/1?a=b", "/v2/1?a=b")]).await;
    rewritten("/", "/v2", &[("/pay/1?a=b", "/v2/pay/1?a=b")]).await;
}

#[tokio::test]
async fn a_path_that_is_the_prefix_becomes_what_replaces_it_without_a_slash_more() {
    rewritten("/pay", "/v2/money", &[("/pay", "/v2/money")]).await;
}

// === Keys ===

/// The key wherever it may stand, and whatever is not there is passed over.
const KEYED: &str = "limits = { threads = 1 }\n{LISTENER}
[[listener.route]]\nname = 'all'\nmap = 'homes'
key = { cookie = 'uid', query = 'uid', path_segment = 1, jwt_claim = 'sub', json_field = 'payer.id' }
[[map]]\nname = 'homes'\nentries = { alice = 'a', bob = 'b' }
[[cluster]]\nname = 'a'\nendpoints = [{ address = '{A}' }]
[[cluster]]\nname = 'b'\nendpoints = [{ address = '{B}' }]";

#[tokio::test]
async fn a_key_leads_to_its_cluster_wherever_it_stands() {
    let (a, b) = (Origin::start(OK).await, Origin::start(OK).await);
    let proxy = Serving::start(KEYED, &[a.address, b.address]).await;
    let get = |path: &str, line: &str| request("GET", path, &[line], "");
    let post = |body: &str| request("POST", "/", &[], body);
    let token = |claims: &str| get("/", &format!("authorization: Bearer e30.{claims}.x"));
    let pairs = [
        [get("/", "cookie: x=bob; uid=alice"), get("/", "cookie: uid=bob")],
        [get("/?x=bob&uid=alice", "x-a: b"), get("/?uid=bob", "x-a: b")],
        [get("/users/alice/bob", "x-a: b"), get("/users/bob", "x-a: b")],
        // {"sub":"alice","uid":42} and {"sub":"bob"}
        [token("eyJzdWIiOiJhbGljZSIsInVpZCI6NDJ9"), token("eyJzdWIiOiJib2IifQ")],
        [post(r#"{"payer":{"id":"alice"}}"#), post(r#"{"to":"alice","payer":{"id":"bob"}}"#)],
        // In this order.
        [get("/users/bob?uid=bob", "cookie: uid=alice"), get("/users/alice?uid=bob", "x-a: b")],
    ];
    for [of_a, of_b] in pairs {
        assert!(a.gave(&proxy.send(of_a.clone()).await), "{of_a}");
        assert!(b.gave(&proxy.send(of_b.clone()).await), "{of_b}");
    }
    let bodies: Vec<_> = b.asked().into_iter().map(|asked| asked.body).collect();
    assert!(bodies.contains(&r#"{"to":"alice","payer":{"id":"bob"}}"#.to_owned()), "{bodies:?}");
    for unknown in [get("/users/carol", "x-a: b"), get("/", "x-a: b"), post("[]")] {
        assert_eq!(proxy.send(unknown).await.told(), (400, Some("PLS0432")));
    }
    proxy.drain().await;
}

// === Mirrors ===

const MIRRORED: &str = "limits = { threads = 1 }\n{LISTENER}
[[listener.route]]\nname = 'all'\ncluster = 'one'\nmirror = { cluster = 'shadow' }
request_headers = { set = { x-stamp = 'proxy' } }
[[cluster]]\nname = 'one'\nendpoints = [{ address = '{A}' }]
[[cluster]]\nname = 'shadow'\nendpoints = [{ address = '{B}' }]";

#[tokio::test]
async fn a_copy_of_a_request_reaches_the_mirror() {
    let (origin, shadow) = (Origin::start(OK).await, Origin::start(OK).await);
    let proxy = Serving::start(MIRRORED, &[origin.address, shadow.address]).await;
    // One that is too large to be kept is not copied, and well all the same.
    let large = "x".repeat(100_000);
    assert!(origin.gave(&proxy.send(request("POST", "/large", &[], &large)).await));
    assert!(origin.gave(&proxy.send(request("POST", "/small?a=b", &["x-a: b"], "pay")).await));
    shadow.asks(1).await;
    let (asked, copied) = (origin.asked(), shadow.asked());
    assert_eq!((asked.len(), copied.len()), (2, 1));
    assert!(asked[0].body == large);
    assert_eq!(copied[0].target(), "/small?a=b");
    assert_eq!(copied[0].body, "pay");
    assert_eq!((copied[0].value("x-a"), copied[0].value("x-stamp")), (Some("b"), Some("proxy")));
    proxy.drain().await;
}

#[tokio::test]
async fn what_becomes_of_a_copy_does_not_touch_the_client() {
    let (origin, shadow) = (Origin::start(OK).await, Origin::start(Way::Hold).await);
    let proxy = Serving::start(MIRRORED, &[origin.address, shadow.address]).await;
    for (copies, way) in [(1, Way::Hold), (2, Way::HangUp), (3, Way::Answer(500))] {
        shadow.does(way);
        assert!(origin.gave(&proxy.send(request("POST", "/", &[], "pay")).await), "{way:?}");
        shadow.asks(copies).await;
    }
    shadow.leave();
    assert!(origin.gave(&proxy.get("/").await));
    assert_eq!(origin.count(), 4, "each of them once");
    proxy.drain().await;
}
