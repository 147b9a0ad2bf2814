//! The API server: Kubernetes' API, generic over kinds, kept in a store.
//!
//! `/` is the federation, `/units/NAME` a unit's own cluster; each is one
//! keyspace of the store. A kind is a [`resource::Resource`]: names, schema,
//! columns and a few pure rules; there is no handler per kind. Replicas share
//! nothing but the store, every write compares what it was computed from.
//!
//! A request walks: [`server`] (TLS, caller) → [`handler`] (path, limits,
//! authorization) → [`verbs`] → [`registry`] (the store) → [`response`].
//!
//! What this crate must never know: what controllers, agents or proxies do
//! with the objects, and how the store keeps them.

mod config;
mod handler;
mod server;
mod verbs;

mod audit;
mod authz;
mod caller;
mod limits;
mod metrics;
mod request;

mod catalog;
mod kinds;
mod names;
mod object;
mod resource;
mod schema;
mod selector;

mod cluster;
mod merged;
mod patch;
mod registry;
mod watch;

mod discovery;
mod failure;
mod logs;
mod openapi;
mod proto;
mod response;
mod review;
mod table;
mod version;

pub use caller::Caller;
pub use cluster::Keyspaces;
pub use config::Config;
pub use handler::Handler;
pub use response::Body;
pub use server::{Api, Error};
