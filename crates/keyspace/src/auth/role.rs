//! A role: permissions on ranges of keys.

use bytes::Bytes;
use kv::KeyRange;

use super::cover::Cover;

/// Of one role. They are looked through only when they change, but make one
/// note, and a role that lists single keys by the thousand wants a prefix.
pub const PERMISSIONS_MAX: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    Read,
    Write,
    ReadWrite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub range: KeyRange,
    pub kind: PermissionKind,
}

/// With its permissions merged, so that a check need not look at all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    permissions: Vec<Permission>,
    readable: Cover,
    writable: Cover,
}

// === impl Role ===

impl Role {
    /// One permission for each range, in the order of their first keys.
    #[must_use]
    pub fn new(mut permissions: Vec<Permission>) -> Role {
        permissions.sort_by(|a, b| sort_key(&a.range).cmp(&sort_key(&b.range)));
        let of = |wanted: PermissionKind| {
            let kinds = [wanted, PermissionKind::ReadWrite];
            let given = permissions.iter().filter(move |given| kinds.contains(&given.kind));
            Cover::of(given.map(|given| &given.range))
        };
        let (readable, writable) = (of(PermissionKind::Read), of(PermissionKind::Write));
        Role { permissions, readable, writable }
    }

    #[must_use]
    pub fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    pub(crate) fn readable(&self) -> &Cover {
        &self.readable
    }

    pub(crate) fn writable(&self) -> &Cover {
        &self.writable
    }

    /// Bytes that it takes, more or less: ranges are kept merged as well.
    pub(crate) fn weight(&self) -> usize {
        let range = |range: &KeyRange| match range {
            KeyRange::Key(key) | KeyRange::From(key) => key.len(),
            KeyRange::Span { from, to } => from.len() + to.len(),
        };
        let keys = self.permissions.iter().map(|given| range(&given.range));
        let each = size_of::<Permission>();
        size_of::<Role>() + 2 * keys.map(|bytes| each + bytes).sum::<usize>()
    }

    /// As etcd: the same range again gets the new kind.
    pub(crate) fn with(&self, permission: &Permission) -> Role {
        let others = self.permissions.iter().filter(|given| given.range != permission.range);
        Role::new(others.chain([permission]).cloned().collect())
    }

    /// None, if exactly this range was not given.
    pub(crate) fn without(&self, range: &KeyRange) -> Option<Role> {
        let mut left = self.permissions.clone();
        left.retain(|given| given.range != *range);
        (left.len() < self.permissions.len()).then(|| Role::new(left))
    }
}

fn sort_key(range: &KeyRange) -> (&Bytes, Option<&Bytes>, bool) {
    match range {
        KeyRange::Key(key) => (key, None, false),
        KeyRange::Span { from, to } => (from, Some(to), false),
        KeyRange::From(from) => (from, None, true),
    }
}
