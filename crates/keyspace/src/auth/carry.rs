//! Users and roles on their way into a keyspace from elsewhere, and out.

use bytes::Bytes;

use super::{Auth, AuthRevision, DamagedNote, Edit, Role, RoleName, Secret, User, UserName};
use crate::NoteRow;

/// All that a keyspace is to know of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub enabled: bool,
    pub revision: AuthRevision,
    /// Needed where auth is enabled.
    pub secret: Option<Secret>,
    pub users: Vec<(UserName, User)>,
    pub roles: Vec<(RoleName, Role)>,
}

// === impl Carried ===

impl Carried {
    /// The notes that say so.
    #[must_use]
    pub fn notes(self) -> Vec<NoteRow> {
        // Tokens of before are void, whoever they were for.
        let enabled = self.enabled.then_some(self.revision);
        let state = Edit::State { enabled, revision: self.revision };
        let users = self.users.into_iter().map(|(name, user)| Edit::User(name, Some(user)));
        let roles = self.roles.into_iter().map(|(name, role)| Edit::Role(name, Some(role)));
        [state]
            .into_iter()
            .chain(self.secret.map(Edit::Secret))
            .chain(users)
            .chain(roles)
            .filter_map(|edit| {
                let (name, value) = edit.note();
                value.map(|value| NoteRow { name, value })
            })
            .collect()
    }
}

// === impl Auth ===

impl Auth {
    /// What these notes say; those about other things are passed over.
    pub fn of_notes<'a>(
        notes: impl IntoIterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<Auth, DamagedNote> {
        let mut auth = Auth::default();
        for (name, value) in notes {
            if let Some(edit) = Edit::of(name, Some(value))? {
                auth.take_in(edit);
            }
        }
        Ok(auth)
    }
}
