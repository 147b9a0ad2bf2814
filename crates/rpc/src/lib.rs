//! The wire of the services a bank already has: SOFARPC's Bolt and Dubbo 2,
//! both with Hessian, and what tells protocols apart on one port.
//!
//! Everything is a function of bytes. A frame is cut out of what was read
//! without a copy, its length is believed only below a bound, and what a router
//! asks (service, method, a header, one argument) is found by skipping what is
//! before it: no object is ever built. What a proxy changes (the id, one header
//! or attachment) changes in place or beside the payload, which stays as it is.
//!
//! What this crate must never know: sockets, time, and where a call goes.

#![forbid(unsafe_code)]

pub mod hessian;

pub mod bolt;
pub mod dubbo;

mod detect;
mod parts;
pub mod proxy_protocol;

pub use detect::{DETECT_BYTES_MAX, Detected, Protocol, detect};
pub use parts::Parts;
