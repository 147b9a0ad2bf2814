//! The store: etcd's face over the keyspace rules and a durable log.
//!
//! In reading order: a [`Store`] serves connections; each request names a
//! keyspace and goes to that keyspace's one actor; the actor applies a batch of
//! requests to the rules, makes the records durable with one append, and only
//! then answers and tells the watchers. While an append is under way the next
//! batch gathers and reads are answered from what is durable.
//!
//! What this crate must never know: what anyone keeps in it.

mod access;
mod credential;
mod guard;
mod passwords;
mod token;

mod config;
mod error;

mod standing;

mod actor;
mod alarms;
mod batch;
mod budget;
mod claim;
mod follower;
mod grace;
mod handle;
mod hash;
mod hub;
mod keyspaces;
mod leader;
mod news;
mod notebook;
mod proof;
mod quota;
mod reading;
mod replica;
mod request;
mod retention;
mod vault;

mod contest;
mod election;
mod lock;

mod counted;
mod desk;
mod errand;
mod forward;
mod gateway;
mod greeting;

mod crc32c;
#[doc(hidden)]
pub mod fuzz;
pub mod import;
pub mod snapshot;
pub mod verify;

mod audit;

mod grpc;
mod health;
mod metrics;
mod pages;
mod recover;
mod route;
mod serve;
mod store;
mod transport;

pub use access::{Access, Pattern, Rule, Who};
pub use config::{AuditConfig, Config, History, Limits};
pub use engine::SqlConfig;
pub use error::Error;
pub use grpc::VERSION;
pub use handle::Handle;
pub use notebook::Notebook;
pub use recover::{Finding, Loss, Recovered, Recovery};
pub use store::Store;
pub use transport::{Entrance, Transport};
