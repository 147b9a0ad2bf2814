//! Users, roles and what they may do: etcd's auth, for one keyspace.
//!
//! All of it stands in notes, so the log and every replica have it without a
//! revision being spent. An [`Order`] is checked by etcd's rules and becomes
//! [`Edit`]s; each edit is one note. Whoever loads or follows a log reads the
//! same edits back, so there is one way in which [`Auth`] changes.
//!
//! Rights are asked of [`Auth`] with a [`Caller`]. What a transaction or a
//! lease needs depends on the keys that leases hold, so those questions are the
//! keyspace's own (`permit`).
//!
//! Passwords arrive hashed and tokens arrive verified: there is no cryptography
//! in here, only the secret that signs tokens, kept like everything else.
//!
//! One deviation from etcd: a right that is taken away is gone at once, also
//! for requests that are on their way, since rights are judged where a request
//! is applied. So nobody is ever told that the revision of its rights is old.

mod caller;
mod carry;
mod cover;
mod edit;
mod name;
mod order;
mod permit;
mod rights;
mod role;
mod state;
mod user;

pub use caller::Caller;
pub use carry::Carried;
pub use edit::{DamagedNote, NOTE_PREFIX};
pub use name::{NAME_BYTES_MAX, RoleName, UserName};
pub use order::{AUTH_BYTES_MAX, Order, ROLES_MAX, ROLES_OF_USER_MAX, USERS_MAX};
pub use role::{PERMISSIONS_MAX, Permission, PermissionKind, Role};
pub use state::{Auth, AuthRevision, Secret};
pub use user::{Password, PasswordHash, User};

pub(crate) use edit::Edit;
