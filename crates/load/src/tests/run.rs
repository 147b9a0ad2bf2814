//! Payments through failing edges.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::time::Instant;

use super::fake::{Estate, Fate};
use crate::{
    Config, EdgeUrl, Load, Outcome, Record, RunId, TryFailure,
    edge::Edges,
    payment::{Payment, resolve},
    read_history,
    resolve::{Patience, resolve_all},
    users::user,
};

fn run_id() -> RunId {
    "run7".parse().expect("a run id")
}

/// Payment `number`, with `left` before it is given up.
async fn pay(urls: &[EdgeUrl], number: u64, left: Duration) -> (Record, Arc<Edges>, Instant) {
    let edges = Arc::new(Edges::new(urls.to_vec()));
    let now = Instant::now();
    let due = now - (Config::GIVE_UP - left);
    let (user, shard) = (user(42), user(42).bucket().shard());
    let payment = Payment { number, user, shard, due, start: due };
    (payment.run(edges.clone(), run_id(), Config::GIVE_UP).await, edges, due)
}

const LONG: Duration = Config::GIVE_UP;
/// Long enough for a first try on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_payment_lost_with_its_edge_is_made_once_at_another_under_the_same_key() {
    for fate in [Fate::PayAndBreak, Fate::Break] {
        let (estate, urls) = Estate::start(2).await;
        estate.next(0, [fate]);
        let (record, ..) = pay(&urls, 0, LONG).await;
        assert_eq!((record.outcome, record.edge), (Outcome::Acked, Some(1)));
        assert_eq!((record.unit.as_deref(), record.epoch), (Some("rz01"), Some(1)));
        let failed: Vec<_> = record.failed.iter().map(|t| (t.edge, t.failure)).collect();
        assert_eq!(failed, [(0, TryFailure::Broken)]);
        let (payments, arrived) = estate.books(|b| (b.payments.len(), b.arrived.clone()));
        assert_eq!(payments, 1);
        assert_eq!(arrived, [(0, record.id.clone()), (1, record.id)]);
    }
}

#[tokio::test]
async fn an_edge_that_is_gone_costs_a_try_and_no_payment() {
    let (_estate, mut urls) = Estate::start(1).await;
    // Bound and not listening: nobody is there, and nobody else can come.
    let gone = tokio::net::TcpSocket::new_v4().expect("a socket");
    gone.bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    let address = gone.local_addr().expect("an address");
    urls.insert(0, format!("http://{address}").parse().expect("a URL"));
    let (record, ..) = pay(&urls, 0, LONG).await;
    assert_eq!((record.outcome, record.edge), (Outcome::Acked, Some(1)));
    assert_eq!(record.failed[0].failure, TryFailure::NotConnected);
}

#[tokio::test]
async fn a_refusal_is_final_only_if_no_earlier_copy_can_still_arrive() {
    let (estate, urls) = Estate::start(1).await;
    estate.next(0, [Fate::Status(422)]);
    let (record, ..) = pay(&urls, 1, LONG).await;
    assert_eq!((record.outcome, record.status), (Outcome::Refused, Some(422)));
    assert_eq!(record.code.as_deref(), Some("PLS0999"));

    estate.next(0, [Fate::Status(421), Fate::Status(422)]);
    let (record, ..) = pay(&urls, 2, LONG).await;
    assert_eq!(record.outcome, Outcome::Refused);

    estate.next(0, [Fate::Status(503), Fate::Status(422), Fate::Answer]);
    let (record, ..) = pay(&urls, 3, LONG).await;
    assert_eq!((record.outcome, record.failed.len()), (Outcome::Acked, 2));
}

#[tokio::test]
async fn a_payment_without_a_definite_answer_is_unknown_and_then_resolved() {
    for (fate, resolved) in [
        (Fate::PayAndBreak, Outcome::ResolvedCommitted),
        (Fate::Status(503), Outcome::ResolvedCancelled),
    ] {
        let (estate, urls) = Estate::start(2).await;
        estate.next(0, [fate].into_iter().chain([Fate::Status(503); 100]));
        estate.next(1, [Fate::Status(503); 100]);
        let (record, edges, start) = pay(&urls, 0, SHORT).await;
        assert_eq!(record.outcome, Outcome::Unknown, "{fate:?}");
        let record = resolve(&edges, &record, start, LONG).await;
        assert_eq!(record.outcome, resolved, "{fate:?}");
    }
}

#[tokio::test]
async fn a_service_that_gives_no_final_word_is_not_asked_for_ever() {
    let (estate, urls) = Estate::start(1).await;
    estate.next(0, [Fate::Status(503); 100]);
    let (record, edges, start) = pay(&urls, 0, SHORT).await;
    let unknown = vec![record; 2000];
    estate.books(|books| books.speechless = true);
    let (each, all) = (Duration::from_millis(200), Duration::from_secs(1));
    let resolved = resolve_all(&edges, unknown.clone(), start, Patience { each, all });
    let came: Vec<_> = resolved.collect().await;
    assert!(came.iter().all(|record| record.outcome == Outcome::Unknown), "{came:?}");
    assert!(came.len() < unknown.len(), "asked about every one of them");

    // One that speaks is asked about all, however many there are.
    estate.books(|books| books.speechless = false);
    let patience = Patience { each: LONG, all: LONG };
    let came: Vec<_> = resolve_all(&edges, unknown.clone(), start, patience).collect().await;
    assert_eq!(came.len(), unknown.len());
    assert!(came.iter().all(|record| record.outcome == Outcome::ResolvedCancelled), "{came:?}");
}

struct History(PathBuf);

impl Drop for History {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_run_sends_at_its_rate_and_its_history_holds_each_payment_once() {
    let (estate, urls) = Estate::start(3).await;
    let file = format!("polis-load-{}.jsonl", std::process::id());
    let history = History(std::env::temp_dir().join(file));
    let config = Config {
        edges: urls,
        rate: 400,
        duration: Some(Duration::from_millis(1500)),
        users: Config::USERS_MIN,
        run: run_id(),
        // Nobody gives up: all are paid, however slow the machine is.
        give_up: Duration::from_secs(120),
        layout: topology::Layout::default(),
        history: history.0.clone(),
    };
    let (_trigger, stop) = rt::drain::channel();
    let (load, _seconds) = Load::prepare(config, stop).await.expect("accounts");
    assert_eq!(estate.books(|b| b.accounts.len()), 100);
    // One edge breaks now and then while the run goes on.
    estate.next(1, [Fate::Answer, Fate::PayAndBreak, Fate::Status(503), Fate::Break]);
    let started = Instant::now();
    let report = load.run().await.expect("a report");
    assert!(started.elapsed() >= Duration::from_millis(1490), "the loop ran ahead");
    assert_eq!((report.summary.sent, report.summary.acked), (600, 600));
    assert!(report.summary.failed_tries >= 3);
    assert_eq!(estate.books(|b| b.payments.len()), 600);
    let read = read_history(&history.0).expect("readable");
    assert_eq!(read, report.records);
    let ids: std::collections::BTreeSet<_> = read.iter().map(|record| &record.id).collect();
    assert_eq!(ids.len(), 600);
    let shards: std::collections::BTreeSet<_> = read.iter().map(|record| record.shard).collect();
    assert_eq!(shards.len(), 100);
}

#[tokio::test]
async fn an_acknowledged_payment_that_is_gone_is_told_while_the_load_goes_on() {
    let (estate, urls) = Estate::start(2).await;
    let (record, edges, _) = pay(&urls, 0, LONG).await;
    let look_up = |id: &str| {
        let (missing, gone) = tokio::sync::mpsc::channel(1);
        crate::witness::look_up(edges.clone(), id.to_owned(), missing);
        gone
    };
    assert_eq!(look_up(&record.id).recv().await, None, "it is there");
    estate.books(|books| books.payments.clear());
    assert_eq!(look_up(&record.id).recv().await, Some(record.id.clone()));
}
