//! Faults strike exactly where they are aimed, on a real server.

use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable as _};
use testkit::{Armed, Fault, FaultProxy, Flow, Odds, Seekdb, When};
use tokio::time::{Instant, sleep, timeout};

/// Longer than a statement takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// For showing that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

struct Rig {
    proxy: FaultProxy,
    database: String,
}

// === impl Rig ===

impl Rig {
    fn new(database: &str) -> Rig {
        let seekdb = Seekdb::shared();
        let _ = seekdb.empty_database(database);
        let table = format!("CREATE TABLE {database}.t (a INT PRIMARY KEY)");
        seekdb.query(&table).expect("create a table");
        Rig { proxy: FaultProxy::start(seekdb.port()), database: database.to_owned() }
    }

    async fn connect(&self) -> Result<Conn, mysql_async::Error> {
        let opts = Opts::from_url(&self.proxy.url(&self.database)).expect("a URL");
        Conn::new(OptsBuilder::from_opts(opts).prefer_socket(false)).await
    }

    async fn conn(&self) -> Conn {
        self.connect().await.expect("connect through the proxy")
    }

    /// Rows, seen past the proxy.
    fn count(&self) -> String {
        let statement = format!("SELECT COUNT(*) FROM {}.t", self.database);
        Seekdb::shared().query(&statement).expect("count")[0][0].clone()
    }

    async fn await_count(&self, wanted: &str) {
        let seen = async {
            while self.count() != wanted {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, seen).await.expect("the rows get there");
    }
}

async fn insert_in_transaction(conn: &mut Conn) -> Result<(), mysql_async::Error> {
    conn.query_drop("BEGIN").await?;
    conn.query_drop("INSERT INTO t VALUES (1)").await?;
    conn.query_drop("COMMIT").await
}

/// Shows that nothing is answered any more once the commit was struck.
async fn is_not_answered(conn: &mut Conn, armed: &Armed) {
    let struck = async {
        while !armed.has_struck() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let silence = async {
        timeout(LIMIT, struck).await.expect("it strikes");
        sleep(SILENCE).await;
    };
    tokio::select! {
        answer = insert_in_transaction(conn) => panic!("an answer comes: {answer:?}"),
        () = silence => {}
    }
}

#[tokio::test]
async fn a_cut_before_the_commit_leaves_nothing() {
    let rig = Rig::new("cut_before");
    let armed = rig.proxy.strike(When::Commit, Fault::CutBefore);
    let mut conn = rig.conn().await;
    insert_in_transaction(&mut conn).await.expect_err("the connection is cut");
    assert!(armed.has_struck());
    assert_eq!(rig.count(), "0");
    insert_in_transaction(&mut rig.conn().await).await.expect("it strikes once");
}

#[tokio::test]
async fn a_cut_after_the_commit_leaves_it_applied() {
    let rig = Rig::new("cut_after");
    rig.proxy.strike(When::Commit, Fault::CutAfter);
    let mut conn = rig.conn().await;
    insert_in_transaction(&mut conn).await.expect_err("the connection is cut");
    assert_eq!(rig.count(), "1");
}

#[tokio::test]
async fn a_late_commit_is_applied_after_its_client_has_gone() {
    let rig = Rig::new("late");
    let pause = Duration::from_secs(2);
    rig.proxy.strike(When::Commit, Fault::CutAndLate(pause));
    let mut conn = rig.conn().await;
    let began = Instant::now();
    insert_in_transaction(&mut conn).await.expect_err("the connection is cut");
    let count = rig.count();
    // Whoever was slow to look may have seen it applied.
    assert!(count == "0" || began.elapsed() >= pause, "{count}");
    rig.await_count("1").await;
}

#[tokio::test]
async fn a_swallowed_commit_is_not_answered() {
    let rig = Rig::new("swallowed");
    let armed = rig.proxy.strike(When::Commit, Fault::SwallowBefore);
    let mut conn = rig.conn().await;
    is_not_answered(&mut conn, &armed).await;
    assert_eq!(rig.count(), "0");
    drop(conn);
    let armed = rig.proxy.strike(When::Commit, Fault::SwallowAfter);
    let mut conn = rig.conn().await;
    is_not_answered(&mut conn, &armed).await;
    rig.await_count("1").await;
}

#[tokio::test]
async fn a_commit_is_found_in_a_prepared_statement_and_among_several() {
    let rig = Rig::new("forms");
    let mut conn = rig.conn().await;
    rig.proxy.strike(When::Commit, Fault::CutAfter);
    conn.query_drop("BEGIN; INSERT INTO t VALUES (1); COMMIT").await.expect_err("it is cut");
    assert_eq!(rig.count(), "1");

    let mut conn = rig.conn().await;
    conn.query_drop("BEGIN").await.expect("begin");
    conn.exec_drop("INSERT INTO t VALUES (?)", (2,)).await.expect("insert");
    let armed =
        rig.proxy.strike(When::Text("insert into t values (?)".to_owned()), Fault::CutBefore);
    conn.exec_drop("INSERT INTO t VALUES (?)", (3,)).await.expect_err("it is cut");
    assert!(armed.has_struck());
    assert_eq!(rig.count(), "1");
}

#[tokio::test]
async fn stalls_and_cuts_concern_every_connection() {
    let rig = Rig::new("stalls");
    let mut conn = rig.conn().await;
    rig.proxy.set_flow(Flow::Stalled);
    timeout(SILENCE, conn.query_drop("SELECT 1")).await.expect_err("nothing passes");
    timeout(SILENCE, rig.connect()).await.expect_err("nobody gets in");
    rig.proxy.set_flow(Flow::Refused);
    conn.query_drop("SELECT 1").await.expect_err("the connection is cut");
    rig.connect().await.expect_err("it is refused");
    rig.proxy.calm();
    let mut conn = rig.conn().await;
    conn.query_drop("SELECT 1").await.expect("all passes again");
    rig.proxy.cut();
    conn.query_drop("SELECT 1").await.expect_err("the connection is cut");
}

#[tokio::test]
async fn random_strikes_leave_what_was_answered() {
    let rig = Rig::new("random");
    let odds = Odds {
        cut_before: 150,
        cut_after: 150,
        delay: 100,
        delay_max: Duration::from_millis(20),
        ..Odds::default()
    };
    rig.proxy.strike_at_random(7, odds);
    let mut answered = 0;
    for number in 0..60 {
        let Ok(mut conn) = rig.connect().await else { continue };
        let statement = format!("BEGIN; INSERT INTO t VALUES ({number}); COMMIT");
        answered += u32::from(conn.query_drop(statement).await.is_ok());
    }
    let count: u32 = rig.count().parse().expect("a number");
    assert!(rig.proxy.struck() > 0 && answered < 60);
    assert!(count >= answered, "{count} rows, {answered} answers");
}
