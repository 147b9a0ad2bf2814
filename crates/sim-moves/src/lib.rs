//! An estate of five centers in three cities, its store, its users and its
//! operators, and their bad luck, all in one thread and under one seed.
//!
//! In reading order: the [`layout`] says what there is; a [`world`] steps the
//! clocks of its machines; what one says to another travels the [`net`], which
//! loses, delays, doubles and overtakes. A [`center`] runs the real API server,
//! controllers and the real table and queue of an edge ([`edge`]); a unit's
//! `ledger` the real books, on the real [`store`]. [`payer`]s pay and retry, an
//! [`operator`] orders moves, [`fault`] strikes. A [`witness`] sees every commit
//! as the store carries it out; in the end a [`judge`] compares the books with
//! what people were told.
//!
//! Nothing of what is tested knows that it is simulated. The same seed gives the
//! same run, if the process runs nothing else and has seeded its entropy; so
//! each seed has a process of its own (`polis-sim-moves`).

pub mod bug;
pub mod center;
pub mod edge;
pub mod fault;
pub mod judge;
pub mod layout;
mod ledgers;
pub mod net;
pub mod operator;
pub mod payer;
mod played;
pub mod store;
mod wall;
pub mod witness;
pub mod world;

pub use bug::Bug;
pub use world::{Plan, Ran, run};
