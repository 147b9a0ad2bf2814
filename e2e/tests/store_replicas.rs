//! Several stores over one real database: a leader that is paused, and a
//! database that goes back.

use std::time::Duration;

use e2e::{Running, Scratch, free_base_port, run, wait_for};
use kv::{Error, KeyRange, Kv as _, PutRequest, RangeRequest, Revision};
use rustix::process::Signal;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(180);

struct Store {
    process: Running,
    url: String,
    data: Scratch,
}

fn start(database: &str, name: &str) -> Store {
    let data = Scratch::new(name);
    let url = format!("http://127.0.0.1:{}", free_base_port());
    let process = run_store(database, name, &url, &data);
    Store { process, url, data }
}

fn run_store(database: &str, name: &str, url: &str, data: &Scratch) -> Running {
    let folder = data.join("data").display().to_string();
    let mut process = Running::start(&[
        "store",
        "--database",
        database,
        "--name",
        name,
        "--data-dir",
        &folder,
        "--listen-client-urls",
        url,
        "--insecure",
    ]);
    process.wait_for_line("store serves", LIMIT);
    process
}

impl Store {
    fn keyspace(&self) -> kv_etcd::Keyspace {
        let client = kv_etcd::Client::connect(kv_etcd::Config::new(&self.url, None));
        client.expect("a client").keyspace("default").expect("a keyspace")
    }
}

async fn put_at_last(keyspace: &kv_etcd::Keyspace, value: &str) -> Revision {
    let put = async {
        loop {
            match keyspace.put(PutRequest::new("k", value.to_owned())).await {
                Ok((revision, _)) => return revision,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(LIMIT, put).await.expect("written in time")
}

async fn read(keyspace: &kv_etcd::Keyspace) -> Result<(Revision, Vec<u8>), Error> {
    let range = keyspace.range(RangeRequest::new(KeyRange::key("k"))).await?;
    let value = range.kvs.first().map(|kv| kv.value.to_vec());
    Ok((range.revision, value.unwrap_or_default()))
}

/// Once somebody answers.
async fn read_at_last(keyspace: &kv_etcd::Keyspace) -> (Revision, Vec<u8>) {
    let read = async {
        loop {
            match read(keyspace).await {
                Ok(seen) => return seen,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(LIMIT, read).await.expect("read in time")
}

/// Which of them leads, by the gauge.
fn leader(stores: &[Store]) -> usize {
    wait_for("a leader", LIMIT, || {
        stores.iter().position(|store| {
            let port = store.url.rsplit(':').next().and_then(|port| port.parse().ok());
            let page = e2e::request(port.expect("a port"), "GET", "/metrics", &[], &[]);
            page.body.contains("\npolis_store_keyspaces_led 1\n")
        })
    })
}

#[tokio::test]
async fn a_leader_that_was_paused_never_answers_with_what_it_knew() {
    let database = testkit::empty_database("paused");
    let stores = ["store-a", "store-b", "store-c"].map(|name| start(&database, name));
    put_at_last(&stores[0].keyspace(), "old").await;
    let paused = leader(&stores);
    let other = stores[(paused + 1) % 3].keyspace();
    let asked = stores[paused].keyspace();
    assert_eq!(read_at_last(&asked).await.1, b"old");

    for round in 0..3 {
        let paused = leader(&stores);
        let asked = stores[paused].keyspace();
        // For there to be a connection.
        read_at_last(&asked).await;
        stores[paused].process.signal(Signal::STOP);
        let since = Instant::now();
        // On its way to a process that stands still, and read when it goes on.
        let waiting = tokio::spawn({
            let asked = asked.clone();
            async move { read(&asked).await }
        });
        let writer = if paused == 0 { stores[1].keyspace() } else { stores[0].keyspace() };
        let new = format!("new {round}");
        let revision = put_at_last(&writer, &new).await;
        println!("round {round}: written {:?} after the pause", since.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await;
        stores[paused].process.signal(Signal::CONT);
        let mut answers = vec![waiting.await.expect("no panic")];
        for _ in 0..200 {
            answers.push(read(&asked).await);
        }
        let fresh = answers.iter().filter(|answer| answer.is_ok()).count();
        println!("round {round}: {fresh} of {} reads answered", answers.len());
        answers.push(Ok(read_at_last(&asked).await));
        for (n, answer) in answers.into_iter().enumerate() {
            let Ok((seen, value)) = answer else { continue };
            let is_new = seen >= revision && value == new.as_bytes();
            assert!(is_new, "answer {n} is stale: {seen} {value:?}");
        }
    }
    assert_eq!(read_at_last(&other).await.1, b"new 2");
}

#[tokio::test]
async fn a_database_that_went_back_is_refused_until_a_person_accepts_the_loss() {
    let database = testkit::empty_database("older");
    let store = start(&database, "store-a");
    let mut last = Revision::ZERO;
    for n in 0..10 {
        last = put_at_last(&store.keyspace(), &format!("{n}")).await;
    }
    // One whose answer was late may have been written twice.
    let before = Revision(last.0 - 2);
    let request = RangeRequest { revision: Some(before), ..RangeRequest::new(KeyRange::key("k")) };
    let kept = store.keyspace().range(request).await.expect("a read").kvs[0].value.to_vec();
    let Store { mut process, url, data } = store;
    process.signal(Signal::TERM);
    assert!(process.wait(LIMIT).success());

    // As after a backup of two batches ago.
    for statement in [
        "DELETE FROM polis_log WHERE seq > (SELECT seq - 2 FROM polis_keyspace)",
        "UPDATE polis_keyspace SET seq = seq - 2, revision = revision - 2",
    ] {
        testkit::query(&database, statement).expect("the database goes back");
    }
    let folder = data.join("data").display().to_string();
    let process = run_store(&database, "store-a", &url, &data);
    let mut refused = Store { process, url, data };
    let keyspace = refused.keyspace();
    let found_out = async {
        loop {
            match read(&keyspace).await {
                Err(Error::Corrupt) => return,
                // It is only starting.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                Ok(seen) => panic!("it serves what is left: {seen:?}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, found_out).await.expect("it is refused");
    refused.process.wait_for_line("PLS0130", LIMIT);
    let Store { mut process, url, data } = refused;
    process.signal(Signal::TERM);
    assert!(process.wait(LIMIT).success());

    let recover = ["store", "recover", "--database", &database, "--data-dir", &folder];
    let mistyped = format!("{folder}-of-nobody");
    let mistyped = run(&["store", "recover", "--database", &database, "--data-dir", &mistyped]);
    let said = String::from_utf8_lossy(&mistyped.stderr);
    assert!(!mistyped.status.success() && said.contains("cannot use the data folder"), "{said}");
    let looked = run(&recover);
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(!looked.status.success() && said.contains("HAS LOST"), "{said}");
    let accepted = run(&[recover.as_slice(), &["--accept-loss"]].concat());
    let said = String::from_utf8_lossy(&accepted.stdout).into_owned();
    assert!(accepted.status.success() && said.contains("Done"), "{said}{accepted:?}");

    let process = run_store(&database, "store-a", &url, &data);
    let store = Store { process, url, data };
    let (revision, value) = read_at_last(&store.keyspace()).await;
    assert_eq!(value, kept);
    assert!(revision > last, "no revision comes twice: {revision} after {last}");
    put_at_last(&store.keyspace(), "on").await;
}
