//! Runtimes: how a container of a Pod becomes something that runs.
//!
//! Served today is the class `package`: a process of the host, in a session of
//! its own, with a clean environment. What is here outlives its caller: a
//! container goes on when the agent that started it is gone, and [`Runtime::open`]
//! finds it again by its record on disk (pid, start time, boot).
//!
//! Reading order: [`Spec`] says what to run, `spawner` starts it, [`Process`]
//! watches and stops it, [`Record`] remembers it, [`logs`] keeps what it prints,
//! [`Exec`] starts more beside it.
//!
//! What this crate must never know: the Kubernetes API, restart policies, probes.

mod spec;

mod exec;
mod listener;
mod proc;
mod process;
mod record;
mod spawner;

pub mod logs;

mod runtime;

pub use exec::{Exec, Execution, Lifetime, Sink, Size, Source};
pub use process::{Exit, Process};
pub use record::{Finished, Record, Running};
pub use runtime::{Config, Error, Found, Runtime};
pub use spec::{ContainerId, Spec, SpecError};
