//! The ledger: accounts and payments in double entry, one database
//! transaction each, refused by the data itself once another unit owns them.
//!
//! The rules (`account` to `audit`) are pure; `transact` is the only place that
//! writes money; `http` turns requests into operations and errors into codes.
//! What this crate must never know: the shard map, Kubernetes, where a unit
//! runs, what the proxy does. It believes the fence rows and nothing else.
//!
//! Rows, in keyspace `ledger-NN` with NN the shard modulo 16, or in tables of
//! the same names:
//!
//! | key | value |
//! |---|---|
//! | `/fence/BBBB` | who may write the bucket, and since which epoch |
//! | `/account/BBBB/UID` | a user's account |
//! | `/clearing/BBBB/MERCHANT.CUR` | what a merchant was paid by this bucket's users |
//! | `/equity/BBBB/CUR` | what opening balances were issued from |
//! | `/payment/BBBB/UID.KEY` | a payment with both its legs, or its cancellation |

// Words
mod codec;
mod ids;
mod money;
mod place;
// Rows and rules, pure
mod account;
mod audit;
mod fence;
mod house;
mod payment;
// Where rows are kept
mod database;
mod on_kv;
mod on_sql;
// Transactions
mod books;
mod cancel;
mod desk;
mod job;
mod lane;
mod open;
mod pay;
mod queue;
mod raise;
mod read;
mod scan;
mod transact;
// The service
mod error;
mod http;
mod metrics;
mod peer;
mod server;
mod wall;

pub use audit::{Audit, INVARIANTS, Violation};
pub use books::Books;
pub use database::Database;
pub use error::Error;
pub use fence::Fence;
pub use http::Service;
pub use ids::{IdempotencyKey, Mark, Merchant, PaymentId};
pub use money::{Amount, Balance, Currency};
pub use on_kv::{KEYSPACES, OnKv};
pub use on_sql::OnSql;
pub use open::{Open, Opened};
pub use pay::{Paid, Pay};
pub use payment::{Committed, Order};
pub use peer::{Peer, Trust};
pub use raise::Raised;
pub use server::{Config, Ledger, Tls};

#[cfg(test)]
mod tests;
