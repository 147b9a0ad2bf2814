//! Calls of SOFARPC and Dubbo: frames instead of requests.
//!
//! A client's connection ([`client`]) is cut into [`frame`]s; each call looks
//! for its way by what [`view`] and [`rule`] find in it and walks it
//! ([`walk`]) on its own, over one connection a thread to each endpoint
//! (`upstream::channel`), where ids are ours. Answers come in any order.
//!
//! Neither protocol has a goodbye that its old clients heed. A successor is given
//! their connections between two calls (`crate::handover`); without one, a drain
//! serves whoever is connected for as long as it may. Our own proxies say that
//! they heed a goodbye when they connect, and leave at once when told.

mod client;
pub(crate) mod frame;
pub(crate) mod rule;
pub(crate) mod view;
mod walk;

pub(crate) use client::serve;
