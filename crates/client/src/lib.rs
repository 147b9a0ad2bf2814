//! Typed access to the API, for every part of Polis that is not the API
//! server: get, list, write with compare, watched caches, leader election.
//!
//! [`connect`] gives a [`Client`] over one connection to one of several API
//! replicas; when that one fails, the next request goes to the next. From the
//! client come doors: [`Client::federation`] serves the federation's objects,
//! [`Client::unit`] those of one unit. A [`Door`] gives [`Objects`] of a kind
//! to read and write, and a [`Cache`] that keeps the last good picture of them
//! while the API is away.
//!
//! What this crate must never know: what any object means.

mod answerer;
mod cache;
mod config;
mod connector;
mod door;
mod entity;
mod error;
mod leader;
mod objects;
mod transport;

pub use cache::{Cache, Scope, Snapshot};
pub use config::{Config, ConfigError};
pub use door::{Client, Door, connect, over};
pub use entity::{Entity, Key};
pub use error::Error;
pub use leader::{Election, Leadership};
pub use objects::{DeleteOptions, List, Objects};

/// Kubernetes' own kinds, so that callers need not name the crate.
pub use k8s_openapi;
