//! Names, passwords, and too many of them.

use pb_etcd::etcdserverpb as pb;
use store::Config;
use tonic::Code;

use crate::{
    client::{Guarded, quick, refused, serve},
    common::{config, within},
};

#[tokio::test]
async fn names_and_passwords_are_bounded_and_who_is_unknown_costs_as_much() {
    let served = serve(quick()).await;
    let Guarded { nobody, root, .. } = served.guarded().await;
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    let log_in = |name: &str, password: &str| {
        let (nobody, name, password) = (nobody.clone(), name.to_owned(), password.to_owned());
        async move { nobody.log_in(&name, &password).await.map(drop) }
    };
    for (name, password) in [
        ("", ""),
        ("root", ""),
        ("root", "wrong"),
        ("nobody", "nobody"),
        ("root\0", "root"),
        ("root", &"r".repeat(100_000)),
    ] {
        refused(log_in(name, password).await, Code::InvalidArgument, failed);
    }
    let long = pb::AuthUserAddRequest {
        name: "long".into(),
        password: "p".repeat(73),
        ..Default::default()
    };
    let text = "bcrypt: password length exceeds 72 bytes";
    refused(within(root.auth().user_add(root.ask(long))).await, Code::Unknown, text);
    let large = "etcdserver: request is too large";
    let long = pb::AuthUserAddRequest { name: "n".repeat(257), ..Default::default() };
    refused(within(root.auth().user_add(root.ask(long))).await, Code::InvalidArgument, large);
    let empty = "etcdserver: user name is empty";
    refused(root.add_user("").await, Code::InvalidArgument, empty);
    let key = "k".repeat(40_000);
    refused(root.permit(&key, "").await, Code::InvalidArgument, large);
    let never = pb::AuthRoleGrantPermissionRequest { name: "app".into(), perm: None };
    let none = "etcdserver: permission not given";
    refused(
        within(root.auth().role_grant_permission(root.ask(never))).await,
        Code::InvalidArgument,
        none,
    );
    refused(
        root.permit("", "\0").await,
        Code::InvalidArgument,
        "etcdserver: invalid auth management",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_is_cut_short_and_stops_nobody_else() {
    let served = serve(Config { bcrypt_cost: 8, ..config() }).await;
    let Guarded { nobody, app, .. } = served.guarded().await;
    let flood: Vec<_> = (0..300)
        .map(|n| {
            let nobody = nobody.clone();
            tokio::spawn(async move { nobody.log_in("app", &format!("{n}")).await.map(drop) })
        })
        .collect();
    let mut puts = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        app.put("app/1").await.expect("its own");
        puts += 1;
    }
    let mut refusals = 0;
    for login in flood {
        let status = login.await.expect("no panic").expect_err("it is wrong");
        refusals += usize::from(status.message() == "etcdserver: too many requests");
    }
    assert!(refusals > 0 && puts > 10, "{refusals} refused, {puts} puts meanwhile");
    nobody.log_in("app", "app").await.expect("it is over");
}
