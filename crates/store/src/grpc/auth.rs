//! Auth: users, roles, and logging in.
//!
//! Orders are checked and carried out by the keyspace; here passwords are
//! hashed, and only for who may give the order, since that is work.

use keyspace::auth::{
    Auth as Rules, Order, Password, Permission, PermissionKind, RoleName, UserName,
};
use kv::{AuthError, Error, KeyRange};
use kv_etcd::range::{key_range_to_wire, owned};
use pb_etcd::{
    authpb::{self, permission::Type as WireKind},
    etcdserverpb::{self as pb, auth_server::Auth},
};
use tonic::{Request, Response, Status};

use super::{Face, refusal};
use crate::{Handle, token};

#[tonic::async_trait]
impl Auth for Face {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let secret = token::new_secret().map_err(refusal)?;
        let header = self.carry_out(&request, |_| Order::Enable { secret }).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header = self.carry_out(&request, |_| Order::Disable).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let handle = self.handle(&request)?;
        let auth = handle.trusted().auth().await.map_err(refusal)?;
        Ok(Response::new(pb::AuthStatusResponse {
            header: self.header(&handle, None),
            enabled: auth.is_enabled(),
            auth_revision: auth.revision().0,
        }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        self.bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let token = self.log_in(&handle, &UserName::new(&name), password).await;
        let token = token.map_err(refusal)?;
        Ok(Response::new(pb::AuthenticateResponse { header: self.header(&handle, None), token }))
    }

    // === users ===

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        self.bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let pb::AuthUserAddRequest { name, password, options, .. } = request.into_inner();
        let password = match options.is_some_and(|options| options.no_password) {
            true => Password::Never,
            false => Password::Hash(self.passwords.hash(password).await.map_err(refusal)?),
        };
        let name = UserName::new(&name);
        handle.order(Order::UserAdd { name, password }).await.map_err(refusal)?;
        Ok(Response::new(pb::AuthUserAddResponse { header: self.header(&handle, None) }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let handle = self.handle(&request)?;
        let name = UserName::new(&request.get_ref().name);
        let auth = handle.auth().await.map_err(refusal)?;
        let caller = handle.caller().await.map_err(refusal)?;
        auth.check_user_get(&caller, &name).map_err(refusal)?;
        let user = auth.user(&name).ok_or_else(|| refusal(AuthError::UserNotFound.into()))?;
        Ok(Response::new(pb::AuthUserGetResponse {
            header: self.header(&handle, None),
            roles: user.roles.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let handle = self.handle(&request)?;
        let auth = all_of(&handle).await?;
        let users = auth.users().map(|(name, _)| name.to_string()).collect();
        Ok(Response::new(pb::AuthUserListResponse { header: self.header(&handle, None), users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let order =
            |request: &pb::AuthUserDeleteRequest| Order::UserDelete(UserName::new(&request.name));
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        self.bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let pb::AuthUserChangePasswordRequest { name, password, .. } = request.into_inner();
        // As etcd since 3.5: nobody logs in with an empty one.
        let password = match password.is_empty() {
            true => Password::Cleared,
            false => Password::Hash(self.passwords.hash(password).await.map_err(refusal)?),
        };
        let name = UserName::new(&name);
        handle.order(Order::UserChangePassword { name, password }).await.map_err(refusal)?;
        let header = self.header(&handle, None);
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let order = |request: &pb::AuthUserGrantRoleRequest| Order::UserGrantRole {
            user: UserName::new(&request.user),
            role: RoleName::new(&request.role),
        };
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let order = |request: &pb::AuthUserRevokeRoleRequest| Order::UserRevokeRole {
            user: UserName::new(&request.name),
            role: RoleName::new(&request.role),
        };
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    // === roles ===

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let order = |request: &pb::AuthRoleAddRequest| Order::RoleAdd(RoleName::new(&request.name));
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let handle = self.handle(&request)?;
        let name = RoleName::new(&request.get_ref().role);
        let auth = handle.auth().await.map_err(refusal)?;
        let caller = handle.caller().await.map_err(refusal)?;
        auth.check_role_get(&caller, &name).map_err(refusal)?;
        let role = auth.role(&name).ok_or_else(|| refusal(AuthError::RoleNotFound.into()))?;
        let perm = match name.is_root() {
            true => vec![everything()],
            false => role.permissions().iter().map(permission_to_wire).collect(),
        };
        Ok(Response::new(pb::AuthRoleGetResponse { header: self.header(&handle, None), perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let handle = self.handle(&request)?;
        let auth = all_of(&handle).await?;
        let roles = auth.roles().map(|(name, _)| name.to_string()).collect();
        Ok(Response::new(pb::AuthRoleListResponse { header: self.header(&handle, None), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let order =
            |request: &pb::AuthRoleDeleteRequest| Order::RoleDelete(RoleName::new(&request.role));
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        self.bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let pb::AuthRoleGrantPermissionRequest { name, perm } = request.get_ref();
        let perm = perm.as_ref().ok_or_else(|| refusal(AuthError::PermissionNotGiven.into()))?;
        let permission = permission_from_wire(perm).map_err(refusal)?;
        let role = RoleName::new(name);
        let order = Order::RoleGrantPermission { role, permission };
        handle.order(order).await.map_err(refusal)?;
        let header = self.header(&handle, None);
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let order = |request: &pb::AuthRoleRevokePermissionRequest| Order::RoleRevokePermission {
            role: RoleName::new(&request.role),
            range: permission_range(&request.key, &request.range_end),
        };
        let header = self.carry_out(&request, order).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}

impl Face {
    /// An order that is all in the request.
    async fn carry_out<T: prost::Message>(
        &self,
        request: &Request<T>,
        order: impl FnOnce(&T) -> Order,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        self.bounded(request.get_ref())?;
        let handle = self.handle(request)?;
        handle.order(order(request.get_ref())).await.map_err(refusal)?;
        Ok(self.header(&handle, None))
    }

    /// Whoever logs in is nobody yet, whatever it shows.
    async fn log_in(
        &self,
        handle: &Handle,
        name: &UserName,
        password: String,
    ) -> Result<String, Error> {
        let auth = handle.trusted().auth().await?;
        if !auth.is_enabled() {
            return Err(AuthError::AuthNotEnabled.into());
        }
        let known = auth.user(name).map(|user| &user.password);
        if let Err(refused) = self.passwords.check(password, known).await {
            tracing::info!(keyspace = %handle.name(), user = ?name, %refused, "not logged in");
            return Err(refused);
        }
        // Of the revision at which the password was right: if it was changed
        // meanwhile, the token is void.
        handle.guard().tokens.issue(&auth, name)
    }
}

/// Users and roles, for who may see all of them.
async fn all_of(handle: &Handle) -> Result<std::sync::Arc<Rules>, Status> {
    let auth = handle.auth().await.map_err(refusal)?;
    let caller = handle.caller().await.map_err(refusal)?;
    auth.check_admin(&caller).map_err(refusal)?;
    Ok(auth)
}

// === permissions ===

fn permission_from_wire(wire: &authpb::Permission) -> Result<Permission, Error> {
    let kind = match WireKind::try_from(wire.perm_type) {
        Ok(WireKind::Read) => PermissionKind::Read,
        Ok(WireKind::Write) => PermissionKind::Write,
        Ok(WireKind::Readwrite) => PermissionKind::ReadWrite,
        Err(_) => return Err(AuthError::InvalidAuthMgmt.into()),
    };
    Ok(Permission { range: permission_range(&wire.key, &wire.range_end), kind })
}

/// Also of the empty key, on which nobody can have a permission.
fn permission_range(key: &bytes::Bytes, range_end: &bytes::Bytes) -> KeyRange {
    match &range_end[..] {
        b"" => KeyRange::Key(owned(key)),
        b"\0" => KeyRange::From(owned(key)),
        _ => KeyRange::Span { from: owned(key), to: owned(range_end) },
    }
}

fn permission_to_wire(permission: &Permission) -> authpb::Permission {
    let kind = match permission.kind {
        PermissionKind::Read => WireKind::Read,
        PermissionKind::Write => WireKind::Write,
        PermissionKind::ReadWrite => WireKind::Readwrite,
    };
    let (key, range_end) = key_range_to_wire(&permission.range);
    authpb::Permission { perm_type: kind.into(), key, range_end }
}

/// As etcd shows the root role, whatever it lists.
fn everything() -> authpb::Permission {
    authpb::Permission {
        perm_type: WireKind::Readwrite.into(),
        key: bytes::Bytes::new(),
        range_end: bytes::Bytes::from_static(b"\0"),
    }
}
