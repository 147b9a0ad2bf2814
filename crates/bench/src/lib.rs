//! What our servers do in a second beside the field's own, measured.
//!
//! A run starts both on one disk of one machine, loads them in turns by the
//! same generator, and sets both beside what the machine can do at all: a bare
//! append with a sync, and a handler that does nothing. The generator speaks
//! HTTP/2 by itself, at a tenth of what a general client costs, because it
//! shares the cores with what it measures.
//!
//! What this crate must never know: how a store works inside.

mod op;
mod plan;

mod child;
mod secure;
mod start;
mod target;
mod usage;

mod drive;
mod fan;
mod grpc;
mod hpack;
mod renew;
mod wire;
mod work;

mod ceiling;
mod database;
mod figures;
mod nothing;
mod run;

mod api;
mod ledger;
mod proxy;

pub use api::{ApiOp, ApiPeer, ApiPlan, ApiReport, ApiRun, run_api};
pub use database::Database;
pub use figures::{Ceiling, Figures, Report, Run};
pub use ledger::{LedgerPlan, LedgerReport, LedgerRun, Payers, run_ledger};
pub use nothing::{Stack, serve_nothing};
pub use op::Op;
pub use plan::{Peer, Plan};
pub use proxy::{
    Half, Origin, Protocol, ProxyFigures, ProxyPeer, ProxyPlan, ProxyReport, ProxyRun, Relay,
    RelayKind, Security, run_proxy, run_relay, serve_origin,
};
pub use run::run;
