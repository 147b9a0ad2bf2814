//! What users may not do, however they ask.

use pb_etcd::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        self as pb, alarm_request::AlarmAction, cluster_client::ClusterClient, kv_client::KvClient,
        lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    client::{Client, DENIED, Guarded, NOBODY, denied, quick, refused, serve, void},
    common::within,
};

fn alarm(action: AlarmAction) -> pb::AlarmRequest {
    pb::AlarmRequest { action: action.into(), member_id: 7, alarm: pb::AlarmType::Nospace.into() }
}

#[tokio::test]
async fn only_root_manages_users_and_the_store() {
    let served = serve(quick()).await;
    let Guarded { nobody, app, root } = served.guarded().await;
    let name = || "app".to_owned();
    for (who, code, text) in
        [(&nobody, Code::InvalidArgument, NOBODY), (&app, Code::PermissionDenied, DENIED)]
    {
        let mut auth = who.auth();
        macro_rules! check {
            ($client:expr, $($method:ident($message:expr)),+ $(,)?) => {
                $(refused(within($client.$method(who.ask($message))).await, code, text);)+
            };
        }
        check!(
            auth,
            auth_enable(pb::AuthEnableRequest {}),
            auth_disable(pb::AuthDisableRequest {}),
            user_add(pb::AuthUserAddRequest {
                name: "new".into(),
                options: Some(UserAddOptions { no_password: true }),
                ..Default::default()
            }),
            user_list(pb::AuthUserListRequest {}),
            user_get(pb::AuthUserGetRequest { name: "root".into() }),
            user_delete(pb::AuthUserDeleteRequest { name: name() }),
            user_change_password(pb::AuthUserChangePasswordRequest {
                name: name(),
                password: "mine".into(),
                ..Default::default()
            }),
            user_grant_role(pb::AuthUserGrantRoleRequest { user: name(), role: "root".into() }),
            user_revoke_role(pb::AuthUserRevokeRoleRequest { name: name(), role: name() }),
            role_add(pb::AuthRoleAddRequest { name: "new".into() }),
            role_get(pb::AuthRoleGetRequest { role: "root".into() }),
            role_list(pb::AuthRoleListRequest {}),
            role_delete(pb::AuthRoleDeleteRequest { role: name() }),
            role_grant_permission(pb::AuthRoleGrantPermissionRequest {
                name: name(),
                perm: Some(Permission { perm_type: 2, key: "\0".into(), range_end: "\0".into() }),
            }),
            role_revoke_permission(pb::AuthRoleRevokePermissionRequest {
                role: name(),
                ..Default::default()
            }),
        );
        let mut maintenance = MaintenanceClient::new(who.channel.clone());
        check!(
            maintenance,
            hash(pb::HashRequest {}),
            hash_kv(pb::HashKvRequest::default()),
            defragment(pb::DefragmentRequest {}),
            alarm(alarm(AlarmAction::Activate)),
            alarm(alarm(AlarmAction::Deactivate)),
            move_leader(pb::MoveLeaderRequest::default()),
            downgrade(pb::DowngradeRequest::default()),
        );
        let snapshot = maintenance.snapshot(who.ask(pb::SnapshotRequest {}));
        refused(within(snapshot).await, code, text);
        let mut kv = KvClient::new(who.channel.clone());
        check!(kv, compact(pb::CompactionRequest { revision: 1, physical: false }));
    }
    let mut maintenance = MaintenanceClient::new(app.channel.clone());
    let list = || alarm(AlarmAction::Get);
    refused(within(maintenance.alarm(nobody.ask(list()))).await, Code::InvalidArgument, NOBODY);
    within(maintenance.alarm(app.ask(list()))).await.expect("a user may know");
    let status = || pb::StatusRequest::default();
    refused(within(maintenance.status(nobody.ask(status()))).await, Code::InvalidArgument, NOBODY);
    within(maintenance.status(app.ask(status()))).await.expect("a user may know");
    let mut cluster = ClusterClient::new(served.client().channel);
    let members = || pb::MemberListRequest::default();
    refused(
        within(cluster.member_list(nobody.ask(members()))).await,
        Code::InvalidArgument,
        NOBODY,
    );
    within(cluster.member_list(app.ask(members()))).await.expect("a user may know");
    let status = within(app.auth().auth_status(nobody.ask(pb::AuthStatusRequest {}))).await;
    assert!(status.expect("no secret").into_inner().enabled);
    let me = pb::AuthUserGetRequest { name: name() };
    let roles = within(app.auth().user_get(app.ask(me))).await.expect("oneself").into_inner().roles;
    assert_eq!(roles, ["app"]);
    root.add_user("new").await.expect("root may");
}

#[tokio::test]
async fn tricks_with_ranges_show_nothing() {
    let served = serve(quick()).await;
    let Guarded { app, root, .. } = served.guarded().await;
    for key in ["app/1", "secret"] {
        root.put(key).await.expect("root may");
    }
    assert_eq!(app.get(b"app/", b"app0").await.expect("its own"), 1);
    for (key, end) in [
        (&b"\0"[..], &b"\0"[..]),
        (b"app/", b"\0"),
        (b"app/", b"app0\0"),
        (b"app/", b"zzz"),
        (b"app", b"app0"),
        (b"secret", b""),
        (b"secret", b"secret\0"),
        (b"z", b"a"),
        (b"\0", b"app/"),
    ] {
        denied(app.get(key, end).await);
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        if key < end || end == b"\0" || end.is_empty() {
            app.watch(key, end).await.refused(reason).await;
        }
    }
    let empty = "etcdserver: key is not provided";
    for end in [&b""[..], b"\0", b"z"] {
        refused(app.get(b"", end).await, Code::InvalidArgument, empty);
    }
    // For a watch the empty key is the lowest one.
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    app.watch(b"", b"\0").await.refused(reason).await;
    app.watch(b"", b"").await.refused(reason).await;
    // In pages too.
    let range = pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let mut kv = KvClient::new(app.channel.clone());
    let stream = within(kv.range_stream(app.ask(range))).await;
    let first = match stream {
        Ok(stream) => within(stream.into_inner().message()).await.map(drop),
        Err(status) => Err(status),
    };
    denied(first);
}

#[tokio::test]
async fn a_watch_ends_with_its_right_and_tells_nothing_of_what_comes_after() {
    let served = serve(quick()).await;
    let Guarded { app, root, .. } = served.guarded().await;
    let mut watch = app.watch(b"app/", b"app0").await;
    assert!(watch.next().await.created);
    root.put("app/before").await.expect("root may");
    assert_eq!(watch.next().await.events.len(), 1);
    root.forbid().await;
    root.put("app/after").await.expect("root may");
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    watch.refused(reason).await;
    // It can be given back, and a password that changes takes it again.
    root.grant("app", "app").await.expect("granted");
    let mut watch = app.watch(b"app/", b"app0").await;
    assert!(watch.next().await.created);
    let (name, password) = ("app".into(), "new".into());
    let change = pb::AuthUserChangePasswordRequest { name, password, ..Default::default() };
    within(root.auth().user_change_password(root.ask(change))).await.expect("changed");
    root.put("app/after").await.expect("root may");
    let reason = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    watch.refused(reason).await;
    void(app.put("app/1").await);
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    refused(app.log_in("app", "app").await.map(drop), Code::InvalidArgument, failed);
    app.log_in("app", "new").await.expect("app").put("app/1").await.expect("its own");
}

#[tokio::test]
async fn a_lease_is_kept_alive_by_who_may_write_its_keys() {
    let served = serve(quick()).await;
    let Guarded { app, root, nobody } = served.guarded().await;
    let mut leases = LeaseClient::new(app.channel.clone());
    let grant = pb::LeaseGrantRequest { ttl: 100, id: 7 };
    refused(within(leases.lease_grant(nobody.ask(grant))).await, Code::InvalidArgument, NOBODY);
    within(leases.lease_grant(app.ask(grant))).await.expect("a lease");
    let put = |who: &Client, key: &str| {
        let (key, value) = (key.to_owned().into(), "v".into());
        who.ask(pb::PutRequest { key, value, lease: 7, ..Default::default() })
    };
    let mut kv = KvClient::new(app.channel.clone());
    within(kv.put(put(&app, "app/1"))).await.expect("its own");

    let (renewals, outgoing) = mpsc::channel(4);
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.expect("open");
    let stream = within(leases.lease_keep_alive(app.ask(ReceiverStream::new(outgoing)))).await;
    let mut stream = stream.expect("a stream").into_inner();
    assert_eq!(within(stream.message()).await.expect("alive").expect("an answer").ttl, 100);
    // Root puts what the user may not write on it.
    within(kv.put(put(&root, "secret"))).await.expect("root may");
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.expect("open");
    denied(within(stream.message()).await);
    denied(within(kv.put(put(&app, "app/2"))).await);
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    denied(within(leases.lease_revoke(app.ask(revoke))).await);
    let info = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    denied(within(leases.lease_time_to_live(app.ask(info))).await);
    denied(within(leases.lease_leases(app.ask(pb::LeaseLeasesRequest {}))).await);
    within(leases.lease_revoke(root.ask(revoke))).await.expect("root may");
    assert_eq!(root.get(b"\0", b"\0").await.expect("root may"), 0);
}
