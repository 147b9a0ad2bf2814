//! What a proxy costs a request, ours beside the field's own.
//!
//! Every proxy of a run gets the same work: it looks up a user's unit by a
//! header, stamps the request, counts it, and keeps its connections to two
//! origins. The generator judges each answer by what the origin says of the
//! request it got, so that no proxy is quick because it does less. Beside them
//! stand two relays that do nothing of all that: what a machine allows at all.
//!
//! Proxies, origins and generator are processes of their own: what the kernel
//! says of one is its own.

mod plan;
mod protocol;
mod users;

mod calls;
mod http1;
mod pace;
mod pieces;
mod traffic;

mod origin;
mod relay;

mod certificates;
mod sides;

mod figures;
mod run;

pub use figures::{Half, ProxyFigures, ProxyReport, ProxyRun};
pub use origin::{Origin, serve_origin};
pub use plan::{ProxyPeer, ProxyPlan};
pub use protocol::{Protocol, Security};
pub use relay::{Relay, RelayKind, run_relay};
pub use run::run_proxy;
