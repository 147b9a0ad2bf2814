//! One change of what is known of users, and the note that keeps it.
//!
//! A note is a format version and then what `codec` writes; its name says what
//! it is about. A note under our prefix that cannot be read refuses the whole
//! keyspace: nobody may be let in because a rule was not understood.

use std::collections::BTreeSet;

use bytes::Bytes;
use kv::KeyRange;

use super::{
    AuthRevision, Password, PasswordHash, Permission, PermissionKind, Role, RoleName, Secret, User,
    UserName,
};
use crate::codec::{DecodeError, FORMAT_VERSION, Input, put_bytes, put_varint};

/// Of every note that is ours.
pub const NOTE_PREFIX: &[u8] = b"auth/";

const STATE: &[u8] = b"auth/state";
const SECRET: &[u8] = b"auth/secret";
const USER: &[u8] = b"auth/user/";
const ROLE: &[u8] = b"auth/role/";

const PASSWORD_NEVER: u8 = 0;
const PASSWORD_CLEARED: u8 = 1;
const PASSWORD_HASH: u8 = 2;

const KIND_READ: u8 = 0;
const KIND_WRITE: u8 = 1;
const KIND_READ_WRITE: u8 = 2;

const RANGE_KEY: u8 = 0;
const RANGE_SPAN: u8 = 1;
const RANGE_FROM: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    State { enabled: Option<AuthRevision>, revision: AuthRevision },
    Secret(Secret),
    User(UserName, Option<User>),
    Role(RoleName, Option<Role>),
}

/// A note of ours that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("note {name:?}: {source}")]
pub struct DamagedNote {
    name: Bytes,
    source: DecodeError,
}

// === impl Edit ===

impl Edit {
    /// The note's name, and what it says; nothing removes it.
    pub(crate) fn note(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Edit::State { enabled, revision } => {
                let mut out = vec![FORMAT_VERSION];
                put_varint(&mut out, revision.0);
                // No revision is zero.
                put_varint(&mut out, enabled.map_or(0, |since| since.0));
                (Bytes::from_static(STATE), Some(out.into()))
            }
            Edit::Secret(Secret(secret)) => {
                let out = [&[FORMAT_VERSION], &secret[..]].concat();
                (Bytes::from_static(SECRET), Some(out.into()))
            }
            Edit::User(name, user) => {
                let note = [USER, name.as_str().as_bytes()].concat();
                (note.into(), user.as_ref().map(encode_user))
            }
            Edit::Role(name, role) => {
                let note = [ROLE, name.as_str().as_bytes()].concat();
                (note.into(), role.as_ref().map(encode_role))
            }
        }
    }

    /// None, if the note is none of ours.
    pub(crate) fn of(name: &Bytes, value: Option<&Bytes>) -> Result<Option<Edit>, DamagedNote> {
        if !name.starts_with(NOTE_PREFIX) {
            return Ok(None);
        }
        let edit = read(name, value.map(|value| &value[..]));
        edit.map(Some).map_err(|source| DamagedNote { name: name.clone(), source })
    }
}

fn read(note: &[u8], value: Option<&[u8]>) -> Result<Edit, DecodeError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| DecodeError::NotText);
    if let Some(name) = note.strip_prefix(USER) {
        let user = value.map(|value| decode(value, decode_user)).transpose()?;
        return Ok(Edit::User(UserName::new(text(name)?), user));
    }
    if let Some(name) = note.strip_prefix(ROLE) {
        let role = value.map(|value| decode(value, decode_role)).transpose()?;
        return Ok(Edit::Role(RoleName::new(text(name)?), role));
    }
    match (note, value) {
        (STATE, Some(value)) => decode(value, |input| {
            let revision = AuthRevision(input.varint()?);
            let since = input.varint()?;
            let enabled = (since > 0).then_some(AuthRevision(since));
            Ok(Edit::State { enabled, revision })
        }),
        (SECRET, Some(value)) => decode(value, |input| {
            let secret = input.take(32)?.try_into().expect("32 bytes were taken");
            Ok(Edit::Secret(Secret(secret)))
        }),
        // Neither is ever removed, and nothing else is written.
        _ => Err(DecodeError::UnknownNote),
    }
}

fn decode<T>(
    value: &[u8],
    read: impl FnOnce(&mut Input<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut input = Input(value);
    match input.byte()? {
        FORMAT_VERSION => {}
        other => return Err(DecodeError::NewerFormat(other)),
    }
    let found = read(&mut input)?;
    input.end()?;
    Ok(found)
}

// === user ===

fn encode_user(user: &User) -> Bytes {
    let mut out = vec![FORMAT_VERSION];
    match &user.password {
        Password::Never => out.push(PASSWORD_NEVER),
        Password::Cleared => out.push(PASSWORD_CLEARED),
        Password::Hash(hash) => {
            out.push(PASSWORD_HASH);
            put_bytes(&mut out, hash.as_str().as_bytes());
        }
    }
    put_varint(&mut out, user.changed.0);
    put_varint(&mut out, user.roles.len() as u64);
    for role in &user.roles {
        put_bytes(&mut out, role.as_str().as_bytes());
    }
    out.into()
}

fn decode_user(input: &mut Input<'_>) -> Result<User, DecodeError> {
    let password = match input.byte()? {
        PASSWORD_NEVER => Password::Never,
        PASSWORD_CLEARED => Password::Cleared,
        PASSWORD_HASH => Password::Hash(PasswordHash::new(input.text()?)),
        other => return Err(DecodeError::UnknownKind(other)),
    };
    let changed = AuthRevision(input.varint()?);
    let mut roles = BTreeSet::new();
    for _ in 0..input.varint()? {
        roles.insert(RoleName::new(input.text()?));
    }
    Ok(User { password, changed, roles })
}

// === role ===

fn encode_role(role: &Role) -> Bytes {
    let mut out = vec![FORMAT_VERSION];
    put_varint(&mut out, role.permissions().len() as u64);
    for Permission { range, kind } in role.permissions() {
        out.push(match kind {
            PermissionKind::Read => KIND_READ,
            PermissionKind::Write => KIND_WRITE,
            PermissionKind::ReadWrite => KIND_READ_WRITE,
        });
        match range {
            KeyRange::Key(key) => {
                out.push(RANGE_KEY);
                put_bytes(&mut out, key);
            }
            KeyRange::Span { from, to } => {
                out.push(RANGE_SPAN);
                put_bytes(&mut out, from);
                put_bytes(&mut out, to);
            }
            KeyRange::From(from) => {
                out.push(RANGE_FROM);
                put_bytes(&mut out, from);
            }
        }
    }
    out.into()
}

fn decode_role(input: &mut Input<'_>) -> Result<Role, DecodeError> {
    let mut permissions = Vec::new();
    for _ in 0..input.varint()? {
        let kind = match input.byte()? {
            KIND_READ => PermissionKind::Read,
            KIND_WRITE => PermissionKind::Write,
            KIND_READ_WRITE => PermissionKind::ReadWrite,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        let range = match input.byte()? {
            RANGE_KEY => KeyRange::Key(input.bytes()?),
            RANGE_SPAN => KeyRange::Span { from: input.bytes()?, to: input.bytes()? },
            RANGE_FROM => KeyRange::From(input.bytes()?),
            other => return Err(DecodeError::UnknownKind(other)),
        };
        permissions.push(Permission { range, kind });
    }
    Ok(Role::new(permissions))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> Vec<Edit> {
        let hash = Password::Hash(PasswordHash::new("$2b$04$abc"));
        let user = |password| User {
            password,
            changed: AuthRevision(300),
            roles: [RoleName::root(), RoleName::new("ä")].into(),
        };
        let permission = |range, kind| Permission { range, kind };
        let role = Role::new(vec![
            permission(KeyRange::key("k"), PermissionKind::Read),
            permission(KeyRange::prefix("p/"), PermissionKind::Write),
            permission(KeyRange::From("z".into()), PermissionKind::ReadWrite),
        ]);
        vec![
            Edit::State { enabled: Some(AuthRevision(7)), revision: AuthRevision(u64::MAX) },
            Edit::State { enabled: None, revision: AuthRevision(1) },
            Edit::Secret(Secret([7; 32])),
            Edit::User(UserName::new("a/b"), Some(user(hash))),
            Edit::User(UserName::new("never"), Some(user(Password::Never))),
            Edit::User(UserName::new("cleared"), Some(user(Password::Cleared))),
            Edit::User(UserName::new("gone"), None),
            Edit::Role(RoleName::new("r"), Some(role)),
            Edit::Role(RoleName::new("gone"), None),
        ]
    }

    #[test]
    fn what_a_note_keeps_is_what_is_read_from_it_and_nothing_shorter_or_longer_is() {
        for edit in samples() {
            let (name, value) = edit.note();
            assert_eq!(Edit::of(&name, value.as_ref()), Ok(Some(edit)));
            let Some(value) = value else { continue };
            for end in 0..value.len() {
                let cut = value.slice(..end);
                assert!(Edit::of(&name, Some(&cut)).is_err(), "{name:?} cut at {end}");
            }
            let longer = [&value[..], &[0]].concat().into();
            assert!(Edit::of(&name, Some(&longer)).is_err(), "{name:?} made longer");
        }
    }

    #[test]
    fn a_note_that_a_newer_release_wrote_is_refused_and_others_are_none_of_ours() {
        for unknown in ["auth/", "auth/statement", "auth/policy/1"] {
            assert!(Edit::of(&unknown.into(), Some(&"x".into())).is_err(), "{unknown}");
        }
        assert!(Edit::of(&Bytes::from_static(STATE), None).is_err());
        assert!(Edit::of(&Bytes::from_static(SECRET), None).is_err());
        assert_eq!(Edit::of(&"alarm/1".into(), Some(&"x".into())), Ok(None));
        assert_eq!(Edit::of(&"aut".into(), None), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            which in 0usize..4,
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let name = [STATE, SECRET, b"auth/user/u", b"auth/role/r"][which];
            let value = [&[FORMAT_VERSION], &bytes[..]].concat();
            let _ = Edit::of(&name.into(), Some(&value.into()));
        }
    }
}
