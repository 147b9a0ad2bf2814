//! Real databases for tests, and a proxy that breaks connections to them.
//!
//! [`Seekdb`], [`MariaDb`], [`Replicas`] and [`Galera`] start servers from the peers' folder
//! (`cargo xtask peers`) in a folder of their own, on free ports of loopback,
//! and end with the test, however that ends. [`FaultProxy`] stands before one
//! of them and cuts, delays or swallows what a test names, down to the single
//! COMMIT. Failures panic and show the server's last lines: only tests call.
//!
//! What this crate must never know: anything of ours that it tests.

mod attendant;
mod galera;
mod mariadb;
mod peers;
mod ports;
mod proxy;
mod query;
mod replicas;
mod scratch;
mod seekdb;
mod server;
mod wait;

pub use galera::{Galera, Node, Seat};
pub use mariadb::MariaDb;
pub use proxy::{Armed, Command, Fault, FaultProxy, Flow, Kind, Odds, When};
pub use query::{Failed, query};
pub use replicas::Replicas;
pub use seekdb::Seekdb;
pub use server::Server;
pub use wait::wait_for;

/// The URL of an empty database for one test: in the database that
/// `POLIS_TEST_DATABASE` names, else in a seekdb that all tests of the process
/// share.
///
/// `POLIS_TEST_DATABASE` is `mysql://USER@HOST:PORT`; the user may create and
/// drop databases, and has no password or the one in
/// `POLIS_TEST_DATABASE_PASSWORD`.
#[must_use]
pub fn empty_database(name: &str) -> String {
    match std::env::var("POLIS_TEST_DATABASE") {
        Ok(base) if !base.is_empty() => {
            let base = base.trim_end_matches('/');
            query::recreate(base, name);
            format!("{base}/{name}")
        }
        _ => Seekdb::shared().empty_database(name),
    }
}
