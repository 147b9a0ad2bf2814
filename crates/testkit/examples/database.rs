//! A database from the peers, for as long as somebody wants it.
//!
//! `cargo run -p polis-testkit --example database -- seekdb|mariadb|galera`
//! starts it in a folder of its own, prints the URL of an empty database and
//! waits until its own input ends; then the server is gone, with its files.
//! `cargo xtask bench-sql` measures the store on it.

use std::io::{self, Read as _};

use testkit::{Galera, MariaDb, Seekdb};

/// Galera's nodes: one for each city's center, as the design has it.
const NODES: usize = 5;

const DATABASE: &str = "polis";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "seekdb" => {
            let server = Seekdb::start();
            wait(&server.empty_database(DATABASE))
        }
        "mariadb" => {
            let server = MariaDb::start();
            wait(&server.empty_database(DATABASE))
        }
        "galera" => {
            let cluster = Galera::start(NODES);
            wait(&cluster.empty_database(DATABASE))
        }
        other => Err(format!("{other:?} is none of seekdb, mariadb, galera").into()),
    }
}

fn wait(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("{url}");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
