//! The API server beside kube-apiserver.
//!
//! Requests are made beforehand and differ in a few digits; of an answer its
//! status and its length are read. So the generator costs a small part of what
//! it measures, with which it shares the cores.

mod certificates;
mod drive;
mod fan;
mod figures;
mod http1;
mod op;
mod plan;
mod requests;
mod run;
mod sides;

pub use figures::{ApiReport, ApiRun};
pub use op::ApiOp;
pub use plan::{ApiPeer, ApiPlan};
pub use run::run_api;
