//! Payments on a database of the peers' folder, beside the same SQL naively.
//!
//! `cargo run --release -p polis-bench --example ledger -- WHAT [CLIENTS…]`
//! starts `mariadb`, `seekdb` or `galera` (five nodes) for it and prints a row
//! for each number of clients (1, 16 and 128 unless given), as `polis bench
//! ledger` does on a database that runs already.

use std::time::Duration;

use bench::{Database, LedgerPlan, LedgerRun};
use engine::SqlConfig;

const DURATION: Duration = Duration::from_secs(4);
const ROUNDS: u32 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let what = args.next().ok_or("say which: mariadb, seekdb or galera")?;
    let mut clients = args.map(|arg| arg.parse()).collect::<Result<Vec<usize>, _>>()?;
    if clients.is_empty() {
        clients = vec![1, 16, 128];
    }
    let url = match what.as_str() {
        "mariadb" => testkit::MariaDb::shared().empty_database("measure"),
        "seekdb" => testkit::Seekdb::shared().empty_database("measure"),
        "galera" => testkit::Galera::shared().empty_database("measure"),
        other => return Err(format!("{other:?} is none of mariadb, seekdb, galera").into()),
    };
    let config = SqlConfig::parse(&url)?;
    let database = Database { url, password_file: None, config };
    let plan = LedgerPlan { database, clients, duration: DURATION, rounds: ROUNDS };
    bench::run_ledger(&plan, std::future::pending(), |run| println!("{}", row(run))).await?;
    Ok(())
}

fn row(run: &LedgerRun) -> String {
    let (ours, naive) = (&run.polis, &run.naive);
    format!(
        "{:?} {}: {:.0}/s, p99 {:.1} ms; naive {:.0}/s, p99 {:.1} ms; ratio {:.2}",
        run.payers,
        run.clients,
        ours.per_s,
        ours.p99_us / 1000.0,
        naive.per_s,
        naive.p99_us / 1000.0,
        run.ratio,
    )
}
