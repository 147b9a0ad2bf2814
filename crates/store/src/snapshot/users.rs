//! Users and roles in etcd's words.

use std::collections::BTreeSet;

use keyspace::auth::{
    AuthRevision, Password, PasswordHash, Permission, PermissionKind, Role, RoleName, User,
    UserName,
};
use kv_etcd::range::{key_range_from_wire, key_range_to_wire};
use pb_etcd::authpb::{self, permission::Type};

pub(super) fn user_to_wire(name: &UserName, user: &User) -> authpb::User {
    let password = match &user.password {
        Password::Hash(hash) => hash.as_str().as_bytes().to_vec(),
        Password::Never | Password::Cleared => Vec::new(),
    };
    authpb::User {
        name: name.as_str().as_bytes().to_vec().into(),
        password: password.into(),
        roles: user.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        options: Some(authpb::UserAddOptions { no_password: user.password == Password::Never }),
    }
}

/// Its password counts as set at `changed`. `None`: not text where it must be.
pub(super) fn user_from_wire(
    user: &authpb::User,
    changed: AuthRevision,
) -> Option<(UserName, User)> {
    let no_password = user.options.is_some_and(|options| options.no_password);
    let password = match std::str::from_utf8(&user.password).ok()? {
        "" if no_password => Password::Never,
        "" => Password::Cleared,
        hash => Password::Hash(PasswordHash::new(hash)),
    };
    let name = UserName::new(std::str::from_utf8(&user.name).ok()?);
    let roles: BTreeSet<_> = user.roles.iter().map(|role| RoleName::new(role)).collect();
    Some((name, User { password, changed, roles }))
}

pub(super) fn role_to_wire(name: &RoleName, role: &Role) -> authpb::Role {
    let permission = |permission: &Permission| {
        let (key, range_end) = key_range_to_wire(&permission.range);
        let perm_type = match permission.kind {
            PermissionKind::Read => Type::Read,
            PermissionKind::Write => Type::Write,
            PermissionKind::ReadWrite => Type::Readwrite,
        };
        authpb::Permission { perm_type: perm_type.into(), key, range_end }
    };
    authpb::Role {
        name: name.as_str().as_bytes().to_vec().into(),
        key_permission: role.permissions().iter().map(permission).collect(),
    }
}

/// `None`: not a role that this release understands.
pub(super) fn role_from_wire(role: &authpb::Role) -> Option<(RoleName, Role)> {
    let name = RoleName::new(std::str::from_utf8(&role.name).ok()?);
    let mut permissions = Vec::new();
    for permission in &role.key_permission {
        let kind = match Type::try_from(permission.perm_type).ok()? {
            Type::Read => PermissionKind::Read,
            Type::Write => PermissionKind::Write,
            Type::Readwrite => PermissionKind::ReadWrite,
        };
        let range = key_range_from_wire(&permission.key, &permission.range_end).ok()?;
        permissions.push(Permission { range, kind });
    }
    Some((name, Role::new(permissions)))
}
