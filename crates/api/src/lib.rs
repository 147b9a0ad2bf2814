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

mod awaited;
mod collect;
mod config;
mod departure;
pub mod encryption;
mod front;
pub mod fuzz;
mod handler;
mod health;
mod server;
pub mod settings;
mod standing;
mod verbs;

mod admission;
mod audit;
mod authn;
mod authz;
mod caller;
mod flows;
mod limits;
mod metrics;
mod request;

mod catalog;
mod kinds;
mod names;
mod object;
mod owners;
mod resource;
mod scale;
mod selector;
mod stored;
mod subresource;

mod cluster;
mod custom;
mod merged;
mod mirror;
mod patch;
mod pods;
mod quota;
mod registry;
mod watch;
mod webhook;

mod answer;
mod discovery;
mod failure;
mod look;
mod openapi;
mod own;
mod response;
mod review;
mod socket;
mod streams;
mod table;
mod token_request;
mod unkept;
mod version;
mod yaml;

pub use audit::check_policy;
pub use caller::Caller;
pub use cluster::Keyspaces;
pub use config::Config;
pub use departure::Departure;
pub use front::Front;
pub use handler::Handler;
pub use request::path::Door;
pub use response::Body;
pub use server::{Api, AuditLog, Error};
pub use settings::Settings;
