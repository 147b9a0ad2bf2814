//! A planned move of shards, from the order to its end.
//!
//! ```text
//! order ─▶ selection (which shard from where to where, taken once)
//!            │
//!            ▼        Moving@e+1 ─▶ hold, drain, fence ─▶ Serving@e+1
//!          progress ─▶ a batch                │ not within its bound
//!            ▲                                ▼
//!            └── observe ◀──────── hold: Moving{from: none, to: back}@e+2
//! ```
//!
//! Nothing is remembered that is not in the shard map or in the order's status:
//! whoever takes over reads both and goes on. The fence is raised, and Serving
//! published, by whoever watches the map; this decides only what is intended.

pub mod effect;
pub mod hold;
pub mod progress;
pub mod selection;
