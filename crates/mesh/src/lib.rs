//! The proxy engine: one data plane for sidecars, hosts and gateways.
//!
//! A [`Config`] says what is listened on, how requests are told apart and
//! where they go; it is checked as a whole, becomes a [`Plan`], and a plan
//! replaces the one before while requests are under way. One thread per core
//! accepts, reads and relays on its own: what threads share on the way of a
//! request are a few atomic counts, never a lock.
//!
//! Reading order: [`config`] is what people write, [`plan`] what it means,
//! [`route`] picks the way of a request, [`exchange`] walks it, [`upstream`] is
//! the other side, crate `hop` the wires; [`call`] is the same for Bolt and
//! Dubbo.
//!
//! What this crate must never know: who owns a shard, and what a payment is.

mod span;

pub mod config;
mod plan;

mod intercept;

mod key;
mod route;

mod seldom;
mod tls;

mod upstream;

mod exchange;
mod refusal;
mod rules;
mod trace;
mod walk;

mod tcp;
mod tunnel;

mod call;

mod listen;
mod origin;
mod serve;
mod worker;

mod handover;
mod snapshot;

mod access_log;
mod admin;
mod follow;
mod metrics;
mod proxy;
mod thread;

#[doc(hidden)]
pub mod fuzz;

pub use config::{Config, Error as ConfigError};
pub use handover::{Error as HandoverError, Handover};
pub use intercept::{RENEW, Rules};
pub use plan::Plan;
pub use proxy::{Error, Options, Outcome, Proxy, State};
pub use snapshot::Snapshot;
