//! Servers start, answer, lose nothing when killed, and come back.

use testkit::{Galera, MariaDb, Seekdb, Server};

fn value(server: &Server, statement: &str) -> String {
    let rows = server.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    rows[0][0].clone()
}

fn run(server: &Server, statement: &str) {
    server.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn keeps_what_was_committed(server: &Server, restart: impl Fn()) {
    let _ = server.empty_database("kept");
    run(server, "CREATE TABLE kept.t (a INT PRIMARY KEY)");
    run(server, "INSERT INTO kept.t VALUES (1), (2)");
    server.kill9();
    assert!(server.query("SELECT 1").is_err());
    restart();
    assert_eq!(value(server, "SELECT COUNT(*) FROM kept.t"), "2");
}

#[test]
fn seekdb_keeps_what_was_committed_when_it_is_killed() {
    let seekdb = Seekdb::start();
    assert!(value(&seekdb, "SELECT VERSION()").to_lowercase().contains("seekdb"));
    keeps_what_was_committed(&seekdb, || seekdb.restart());
}

#[test]
fn mariadb_keeps_what_was_committed_when_it_is_killed() {
    let mariadb = MariaDb::start();
    assert!(value(&mariadb, "SELECT VERSION()").contains("MariaDB"));
    keeps_what_was_committed(&mariadb, || mariadb.restart());
}

#[test]
fn a_cluster_of_five_replicates_and_takes_a_killed_node_back() {
    let galera = Galera::start(5);
    let _ = galera.empty_database("spread");
    run(galera.node(0), "CREATE TABLE spread.t (a INT PRIMARY KEY)");
    run(galera.node(0), "INSERT INTO spread.t VALUES (1)");
    let count = "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT COUNT(*) FROM spread.t";
    // It need not have applied what was written through another one.
    assert_eq!(value(galera.node(1), count), "1");
    galera.node(4).kill9();
    run(galera.node(1), "INSERT INTO spread.t VALUES (2)");
    galera.restart(4);
    for node in galera.nodes() {
        assert_eq!(value(node, count), "2");
    }
}
