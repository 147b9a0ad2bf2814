//! Users, roles and rights as etcd has them, and where it is stricter here.

use std::time::Duration;

use keyspace::{
    Base, Config, Fold, Keyspace, Record, Values,
    auth::{
        Auth, AuthRevision, Caller, NAME_BYTES_MAX, Order, PERMISSIONS_MAX, Password, PasswordHash,
        Permission, PermissionKind, RoleName, Secret, UserName,
    },
};
use kv::{AuthError, Compare, DeleteRequest, Error, KeyRange, LeaseId, Op, PutRequest, Txn};
use rt::Millis;

const DENIED: Result<(), Error> = Err(Error::PermissionDenied);
const NOBODY: Result<(), Error> = Err(Error::Auth(AuthError::UserEmpty));

fn user(name: &str) -> UserName {
    UserName::new(name)
}

fn role(name: &str) -> RoleName {
    RoleName::new(name)
}

fn hash() -> Password {
    Password::Hash(PasswordHash::new("$2b$04$hash"))
}

fn add(name: &str) -> Order {
    Order::UserAdd { name: user(name), password: hash() }
}

fn enable() -> Order {
    Order::Enable { secret: Secret([1; 32]) }
}

fn grant(to: &str, name: &str) -> Order {
    Order::UserGrantRole { user: user(to), role: role(name) }
}

fn permit(name: &str, range: KeyRange, kind: PermissionKind) -> Order {
    Order::RoleGrantPermission { role: role(name), permission: Permission { range, kind } }
}

/// A keyspace and everything that its log would hold.
struct World {
    keyspace: Keyspace,
    log: Vec<Record>,
}

impl World {
    fn new() -> World {
        World { keyspace: Keyspace::new(Config::default()), log: Vec::new() }
    }

    /// `app` may read and write `app/`, read `shared/` and write `drop/`.
    fn guarded() -> World {
        let mut world = World::new();
        for order in [
            add("root"),
            grant("root", "root"),
            add("app"),
            Order::RoleAdd(role("app")),
            permit("app", KeyRange::prefix("app/"), PermissionKind::ReadWrite),
            permit("app", KeyRange::prefix("shared/"), PermissionKind::Read),
            permit("app", KeyRange::prefix("drop/"), PermissionKind::Write),
            grant("app", "app"),
            enable(),
        ] {
            world.must(&order);
        }
        world
    }

    fn order(&mut self, caller: &Caller, order: &Order) -> Result<(), Error> {
        let applied = self.keyspace.auth_apply(caller, order)?;
        self.log.extend(applied.records);
        Ok(())
    }

    fn must(&mut self, order: &Order) {
        self.order(&Caller::Trusted, order).expect("it is allowed");
    }

    fn fails(&mut self, order: &Order, expected: impl Into<Error>) {
        let (auth, records) = (self.keyspace.auth().clone(), self.log.len());
        assert_eq!(self.order(&Caller::Trusted, order), Err(expected.into()), "{order:?}");
        assert_eq!((self.keyspace.auth(), self.log.len()), (&auth, records), "{order:?}");
    }

    fn auth(&self) -> &Auth {
        self.keyspace.auth()
    }

    fn token(&self, name: &str) -> Caller {
        Caller::Token { user: user(name), issued: self.auth().revision() }
    }

    fn may(&self, caller: &Caller, ops: Vec<Op>) -> Result<(), Error> {
        self.keyspace.permit_txn(caller, &Txn::default().then(ops))
    }

    fn put(&mut self, key: &str, lease: Option<LeaseId>) {
        let put = PutRequest { lease, ..PutRequest::new(key.to_owned(), "v") };
        let txn = Txn::default().then(vec![Op::Put(put)]);
        let _applied = self.keyspace.apply(&txn, &Values::default()).expect("it is allowed");
    }
}

#[test]
fn orders_are_refused_for_the_reasons_that_etcd_gives() {
    let mut world = World::new();
    world.fails(&enable(), AuthError::RootUserNotExist);
    world.fails(&add(""), AuthError::UserEmpty);
    world.fails(&Order::RoleAdd(role("")), AuthError::RoleEmpty);
    world.must(&add("root"));
    world.fails(&add("root"), AuthError::UserAlreadyExist);
    world.fails(&enable(), AuthError::RootRoleNotExist);
    world.fails(&grant("root", "none"), AuthError::RoleNotFound);
    world.fails(&grant("nobody", "root"), AuthError::UserNotFound);
    world.must(&grant("root", "root"));
    world.must(&Order::RoleAdd(role("r")));
    world.fails(&Order::RoleAdd(role("r")), AuthError::RoleAlreadyExist);
    world.fails(&Order::RoleDelete(role("x")), AuthError::RoleNotFound);
    world.fails(&Order::UserDelete(user("x")), AuthError::UserNotFound);
    let revoke = Order::UserRevokeRole { user: user("root"), role: role("r") };
    world.fails(&revoke, AuthError::RoleNotGranted);
    let password = Order::UserChangePassword { name: user("x"), password: hash() };
    world.fails(&password, AuthError::UserNotFound);
    let permission = |range| permit("r", range, PermissionKind::Read);
    for never in [
        KeyRange::key(""),
        KeyRange::From("".into()),
        KeyRange::Span { from: "b".into(), to: "a".into() },
        KeyRange::Span { from: "b".into(), to: "b".into() },
    ] {
        world.fails(&permission(never), AuthError::InvalidAuthMgmt);
    }
    world.must(&permission(KeyRange::prefix("a")));
    let revoke = |range| Order::RoleRevokePermission { role: role("r"), range };
    world.fails(&revoke(KeyRange::key("a")), AuthError::PermissionNotGranted);
    world.must(&revoke(KeyRange::prefix("a")));
    world.fails(
        &Order::RoleRevokePermission { role: role("x"), range: KeyRange::key("a") },
        AuthError::RoleNotFound,
    );
}

#[test]
fn while_auth_is_on_root_cannot_be_taken_away() {
    let mut world = World::guarded();
    world.must(&Order::RoleAdd(role("root")));
    let orders = [
        Order::UserDelete(user("root")),
        Order::RoleDelete(role("root")),
        Order::UserRevokeRole { user: user("root"), role: role("root") },
    ];
    for order in &orders {
        world.fails(order, AuthError::InvalidAuthMgmt);
    }
    world.must(&Order::Disable);
    for order in &orders[1..] {
        let _ = world.order(&Caller::Trusted, order);
    }
    world.must(&orders[0]);
    world.fails(&enable(), AuthError::RootUserNotExist);
}

#[test]
fn the_revision_counts_changes_and_nothing_else() {
    let mut world = World::new();
    let mut revisions = vec![world.auth().revision().0];
    for order in [
        add("root"),
        grant("root", "root"),
        grant("root", "root"),
        enable(),
        enable(),
        Order::RoleAdd(role("r")),
        Order::Disable,
        Order::Disable,
    ] {
        world.must(&order);
        revisions.push(world.auth().revision().0);
    }
    assert_eq!(revisions, [1, 2, 3, 3, 3, 3, 4, 5, 5]);
    assert_eq!(world.keyspace.revision(), kv::Revision::FIRST);
}

#[test]
fn what_was_ordered_survives_log_and_base_alike() {
    let mut world = World::guarded();
    world.must(&Order::UserDelete(user("app")));
    world.must(&add("other"));
    for folded in 0..=world.log.len() {
        let mut fold = Fold::default();
        world.log[..folded].iter().cloned().for_each(|record| fold.add(record));
        let mut base = Base::default();
        base.apply(fold);
        let rest = world.log[folded..].iter().cloned();
        let loaded = Keyspace::load(Config::default(), base, rest, Millis(0)).expect("loads");
        assert_eq!(loaded.auth(), world.keyspace.auth(), "folded {folded}");
    }
    let unknown = Record::Note { name: "auth/later".into(), value: Some("x".into()) };
    let refused = Keyspace::load(Config::default(), Base::default(), [unknown], Millis(0));
    assert!(refused.is_err(), "rules that are not understood let nobody in");
}

#[test]
fn only_root_gives_orders_once_auth_is_on() {
    let mut world = World::guarded();
    let order = Order::RoleAdd(role("new"));
    assert_eq!(world.order(&Caller::Nobody, &order), NOBODY);
    assert_eq!(world.order(&world.token("app"), &order), DENIED);
    let stranger = Caller::Certificate(user("stranger"));
    assert_eq!(world.order(&stranger, &order), Err(AuthError::UserNotFound.into()));
    assert_eq!(world.order(&Caller::Certificate(user("app")), &order), DENIED);
    assert_eq!(world.order(&world.token("root"), &order), Ok(()));
    // It is all one as long as auth is off.
    let mut open = World::new();
    assert_eq!(open.order(&Caller::Nobody, &order), Ok(()));
}

#[test]
fn a_token_is_void_once_its_user_is_deleted_made_anew_or_given_a_password() {
    let mut world = World::guarded();
    let read = vec![Op::get("app/1")];
    let old = world.token("app");
    world.must(&Order::RoleAdd(role("elsewhere")));
    assert_eq!(world.may(&old, read.clone()), Ok(()), "other changes do not matter");
    world.must(&Order::UserChangePassword { name: user("app"), password: hash() });
    let void = Err(AuthError::InvalidAuthToken.into());
    assert_eq!(world.may(&old, read.clone()), void);
    let newer = world.token("app");
    assert_eq!(world.may(&newer, read.clone()), Ok(()));
    world.must(&Order::UserDelete(user("app")));
    assert_eq!(world.may(&newer, read.clone()), void);
    world.must(&add("app"));
    world.must(&grant("app", "app"));
    assert_eq!(world.may(&newer, read.clone()), void);
    assert_eq!(world.may(&Caller::Certificate(user("app")), read), Ok(()));
}

#[test]
fn a_token_is_void_once_auth_was_off() {
    let mut world = World::guarded();
    let old = world.token("app");
    world.must(&Order::Disable);
    assert_eq!(world.may(&Caller::Nobody, vec![Op::get("secret")]), Ok(()), "all is open");
    world.must(&enable());
    assert_eq!(world.may(&old, vec![Op::get("app/1")]), Err(AuthError::InvalidAuthToken.into()));
    assert_eq!(world.may(&world.token("app"), vec![Op::get("app/1")]), Ok(()));
}

#[test]
fn a_user_without_a_password_never_gets_one() {
    let mut world = World::new();
    world.must(&Order::UserAdd { name: user("cert"), password: Password::Never });
    world.must(&Order::UserChangePassword { name: user("cert"), password: hash() });
    let found = world.auth().user(&user("cert")).expect("it is there");
    assert_eq!((&found.password, found.changed), (&Password::Never, AuthRevision(3)));
}

#[test]
fn a_deleted_role_is_nobodys_also_when_one_of_its_name_comes_back() {
    let mut world = World::guarded();
    world.must(&Order::RoleDelete(role("app")));
    world.must(&Order::RoleAdd(role("app")));
    world.must(&permit("app", KeyRange::prefix("app/"), PermissionKind::ReadWrite));
    assert_eq!(world.may(&world.token("app"), vec![Op::get("app/1")]), DENIED);
}

#[test]
fn the_same_range_again_gets_the_new_kind() {
    let mut world = World::guarded();
    world.must(&permit("app", KeyRange::prefix("app/"), PermissionKind::Read));
    let app = world.token("app");
    assert_eq!(world.may(&app, vec![Op::get("app/1")]), Ok(()));
    assert_eq!(world.may(&app, vec![Op::put("app/1", "v")]), DENIED);
    assert_eq!(world.auth().role(&role("app")).expect("it is there").permissions().len(), 3);
}

#[test]
fn users_see_themselves_and_their_roles_only() {
    let world = World::guarded();
    let (auth, app) = (world.auth(), world.token("app"));
    assert_eq!(auth.check_user_get(&app, &user("app")), Ok(()));
    assert_eq!(auth.check_user_get(&app, &user("root")), DENIED);
    assert_eq!(auth.check_role_get(&app, &role("app")), Ok(()));
    assert_eq!(auth.check_role_get(&app, &role("root")), DENIED);
    assert_eq!(auth.check_user_get(&Caller::Nobody, &user("app")), NOBODY);
    assert_eq!(auth.check_user_get(&Caller::Nobody, &user("")), NOBODY);
    assert_eq!(auth.check_role_get(&Caller::Nobody, &role("app")), NOBODY);
    // A void token proves nothing, not even who one was.
    let void = Caller::Token { user: user("app"), issued: AuthRevision(0) };
    assert!(auth.check_user_get(&void, &user("app")).is_err());
}

#[test]
fn reading_and_writing_need_their_own_right_on_every_key() {
    let world = World::guarded();
    let app = world.token("app");
    let get = |range| vec![Op::Range(kv::RangeRequest::new(range))];
    let delete = |range, prev_kv| vec![Op::Delete(DeleteRequest { range, prev_kv })];
    let put = |key: &str, prev_kv| {
        vec![Op::Put(PutRequest { prev_kv, ..PutRequest::new(key.to_owned(), "v") })]
    };
    for (ops, expected) in [
        (get(KeyRange::prefix("app/")), Ok(())),
        (get(KeyRange::key("shared/1")), Ok(())),
        (get(KeyRange::key("drop/1")), DENIED),
        (get(KeyRange::key("other")), DENIED),
        (get(KeyRange::prefix("app")), DENIED),
        (get(KeyRange::prefix("")), DENIED),
        (get(KeyRange::From("app/".into())), DENIED),
        (get(KeyRange::Span { from: "app/".into(), to: "app0\0".into() }), DENIED),
        // No key is in them, and still a right is needed where they start.
        (get(KeyRange::Span { from: "z".into(), to: "a".into() }), DENIED),
        (get(KeyRange::Span { from: "".into(), to: "".into() }), DENIED),
        (put("app/1", true), Ok(())),
        (put("drop/1", false), Ok(())),
        (put("drop/1", true), DENIED),
        (put("shared/1", false), DENIED),
        (delete(KeyRange::prefix("drop/"), false), Ok(())),
        (delete(KeyRange::prefix("drop/"), true), DENIED),
        (delete(KeyRange::prefix("shared/"), false), DENIED),
        (delete(KeyRange::prefix(""), false), DENIED),
    ] {
        assert_eq!(world.may(&app, ops.clone()), expected, "{ops:?}");
        assert_eq!(world.may(&world.token("root"), ops.clone()), Ok(()), "{ops:?}");
        assert_eq!(world.may(&Caller::Nobody, ops.clone()), NOBODY, "{ops:?}");
        assert_eq!(world.may(&Caller::Trusted, ops), Ok(()));
    }
}

#[test]
fn a_transaction_is_no_oracle_for_what_may_not_be_read() {
    let world = World::guarded();
    let app = world.token("app");
    let permit = |txn: &Txn| world.keyspace.permit_txn(&app, txn);
    let secret = || Compare::value_is("secret", "guess");
    let mine = || vec![Op::get("app/1")];
    assert_eq!(permit(&Txn::when(vec![secret()]).then(mine())), DENIED);
    let range = Compare { range: KeyRange::prefix(""), ..Compare::absent("x") };
    assert_eq!(permit(&Txn::when(vec![range]).then(mine())), DENIED);
    // Neither nested, nor in a branch that would not run.
    let nested = Txn::when(vec![secret()]);
    let hidden = Txn::when(vec![Compare::absent("app/1")]).otherwise(vec![Op::Txn(nested)]);
    assert_eq!(permit(&hidden), DENIED);
    let deep = (0..5).fold(Op::get("secret"), |op, _| Op::Txn(Txn::default().then(vec![op])));
    assert_eq!(world.may(&app, vec![deep]), DENIED);
    assert_eq!(permit(&Txn::default().otherwise(vec![Op::put("secret", "x")])), DENIED);
    // What is too much for anyone is not looked through for those without rights.
    let wide = Txn::when(vec![secret(); Txn::OPS_MAX + 1]);
    assert_eq!(permit(&wide), Err(Error::TooManyOps));
}

#[test]
fn a_lease_needs_the_right_to_all_of_its_keys() {
    let mut world = World::guarded();
    let ttl = Duration::from_secs(60);
    for id in [1, 2, 3] {
        let granted = world.keyspace.lease_grant(LeaseId(id), ttl, Millis(0));
        let _granted = granted.expect("it is allowed");
    }
    world.put("app/1", Some(LeaseId(1)));
    world.put("secret", Some(LeaseId(2)));
    world.put("drop/1", Some(LeaseId(3)));
    let app = world.token("app");
    let (keyspace, lease) = (&world.keyspace, LeaseId);
    assert_eq!(keyspace.permit_lease_change(&app, lease(1)), Ok(()));
    assert_eq!(keyspace.permit_lease_change(&app, lease(2)), DENIED);
    assert_eq!(keyspace.permit_lease_change(&app, lease(3)), Ok(()));
    assert_eq!(keyspace.permit_lease_change(&app, lease(99)), Ok(()), "not found, says the next");
    assert_eq!(keyspace.permit_lease_info(&app, lease(1), true), Ok(()));
    assert_eq!(keyspace.permit_lease_info(&app, lease(2), false), Ok(()));
    assert_eq!(keyspace.permit_lease_info(&app, lease(2), true), DENIED);
    assert_eq!(keyspace.permit_lease_info(&app, lease(3), true), DENIED);
    assert_eq!(keyspace.permit_leases(&app), DENIED);
    assert_eq!(keyspace.permit_leases(&Caller::Nobody), NOBODY);
    assert_eq!(keyspace.permit_lease_change(&Caller::Nobody, lease(99)), NOBODY);
    // A key of one's own on another's lease would go when that one says so,
    // and keep alive what one may not write.
    let attach = |id| PutRequest { lease: Some(lease(id)), ..PutRequest::new("app/2", "v") };
    assert_eq!(world.may(&app, vec![Op::Put(attach(1))]), Ok(()));
    assert_eq!(world.may(&app, vec![Op::Put(attach(2))]), DENIED);
}

#[test]
fn a_root_role_that_lists_permissions_is_still_everything() {
    let mut world = World::guarded();
    world.must(&Order::RoleAdd(role("root")));
    world.must(&permit("root", KeyRange::key("only"), PermissionKind::Read));
    assert_eq!(world.may(&world.token("root"), vec![Op::put("any", "v")]), Ok(()));
}

#[test]
fn names_and_permissions_are_bounded() {
    let mut world = World::new();
    let long = "n".repeat(NAME_BYTES_MAX);
    world.must(&add(&long));
    world.must(&Order::RoleAdd(role(&long)));
    let longer = "n".repeat(NAME_BYTES_MAX + 1);
    world.fails(&add(&longer), Error::RequestTooLarge);
    world.fails(&Order::RoleAdd(role(&longer)), Error::RequestTooLarge);
    world.must(&Order::RoleAdd(role("r")));
    for n in 0..PERMISSIONS_MAX {
        world.must(&permit("r", KeyRange::key(format!("{n}")), PermissionKind::Read));
    }
    let more = permit("r", KeyRange::key("more"), PermissionKind::Read);
    world.fails(&more, Error::RequestTooLarge);
    world.must(&permit("r", KeyRange::key("1"), PermissionKind::Write));
    let huge = vec![b'k'; keyspace::KEY_BYTES_MAX + 1];
    world.fails(&permit(&long, KeyRange::key(huge), PermissionKind::Read), Error::RequestTooLarge);
}
