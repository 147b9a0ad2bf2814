//! A store of several replicas, its database, its clients and their bad luck,
//! all in one thread and under one seed.
//!
//! In reading order: a [`world`] steps the clocks of its machines ([`host`]);
//! replicas run the real store on engines whose requests travel a [`wire`] that
//! loses, delays and refuses, as do those that they pass on to each other;
//! [`fault`] crashes, pauses and cuts off; a database may come back older than
//! it was (`ruin`); [`client`]s and [`watcher`]s ask and write down what they
//! were told ([`recorder`]); in the end the checker judges.
//!
//! The same seed gives the same run, if the process runs nothing else and has
//! seeded its [`entropy`]; so each seed has a process of its own (`polis-sim`).

mod call;
pub mod client;
pub mod codes;
mod convert;
pub mod database;
pub mod entropy;
pub mod fault;
pub mod host;
mod log;
mod post;
pub mod recorder;
mod replica;
mod ruin;
pub mod watcher;
pub mod wire;
pub mod world;

pub use log::Bug;
pub use world::{Plan, Ran, run};
