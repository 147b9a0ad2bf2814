//! The other side: clusters of endpoints, which one is asked, over which
//! connection, and which is left alone for a while.
//!
//! [`cluster`] is what all threads share: limits and the health of endpoints,
//! in atomics. [`local`] is what one thread has of it: connections that are
//! open, and what it has seen of latency. [`channel`] carries calls of Bolt and
//! Dubbo side by side.

mod balance;
pub(crate) mod channel;
mod cluster;
mod connect;
mod health;
mod lease;
mod local;

pub(crate) use channel::{Lost, keep as keep_waker};
pub(crate) use cluster::{Busy, Cluster, Endpoint};
pub(crate) use connect::Error as ConnectError;
pub(crate) use health::watch;
pub(crate) use lease::Lease;
pub(crate) use local::{Local, LocalEndpoint, UnderWay};
