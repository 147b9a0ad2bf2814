//! The guardian of a group of databases: sees which one leads, and makes
//! another lead when that one is lost, so that nothing acknowledged is.
//!
//! [`DatabaseGroup`] is what differs between databases. [`Replicas`] is a
//! MariaDB with semi-synchronous replicas: we choose the leader, and the rules
//! for that (`history`, `mandate`, `rule`) are pure. [`OceanBase`] elects by
//! itself; there we only look, and ask it to move.
//!
//! What this crate must never know: what the databases hold. And it must not
//! need them: nothing that the guardian believes is kept anywhere but in the
//! databases themselves, so that it can stand below the store.

// Words and rules, pure
mod history;
mod mandate;
mod member;
mod rule;
// Databases
mod node;
mod oceanbase;
mod replicas;
// The service
mod error;
mod group;
mod guard;

pub use error::Error;
pub use group::{DatabaseGroup, Leader, Outcome, Survey, Tended};
pub use guard::{Guard, Pace};
pub use history::History;
pub use mandate::{Epoch, Mandate};
pub use member::{Member, Name};
pub use oceanbase::OceanBase;
pub use replicas::{Replicas, Replication};

#[cfg(test)]
mod tests;
