//! What holds over every database: one suite, run over the store's rules,
//! MariaDB and OceanBase's kernel.

use std::sync::Arc;

use engine::SqlConfig;
use testkit::{MariaDb, Seekdb, Server};
use topology::{BucketRange, Epoch, Extent, Shard, UserId};

use super::store::{Store, books};
use crate::{
    Books, Database, Error, OnSql, PaymentId, cancel::Resolve, desk::Standing, payment::Payment,
    raise::Raised, read::payment_id,
};

/// One database, as any number of units see it.
struct World(Arc<dyn Database>);

// === impl World ===

impl World {
    fn of(&self, unit: &str) -> Books {
        Books::new(unit.parse().expect("a name"), self.0.clone())
    }

    /// Books of rz01 at epoch 1 with the user's account holding `balance`.
    async fn ready(&self, balance: u64) -> Books {
        let books = self.of("rz01");
        let raised = books.raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
        assert!(matches!(raised, Raised::Ours(_)), "{raised:?}");
        open(&books, &books::user(), balance).await;
        books
    }
}

async fn open(books: &Books, user: &UserId, balance: u64) {
    books.execute(books::opening(user, balance), None, books::soon()).await.expect("opened");
}

async fn pay(books: &Books, key: &str, amount: u64) -> Result<crate::pay::Paid, Error> {
    books.execute(books::order(key, amount), None, books::soon()).await
}

/// No violation, and as many payments as were made.
async fn sound(books: &Books, payments: u64) {
    let audit = books.audit(books::shard(), books::soon()).await.expect("audited");
    assert_eq!((audit.payments, audit.violation_count), (payments, 0), "{audit:?}");
}

async fn sql(server: &Server, name: &str) -> World {
    // A slow server is waited for: an unknown outcome is not what is tested here.
    let options = "connect-timeout-ms=20000&statement-timeout-ms=60000";
    let url = format!("{}?{options}", server.empty_database(name));
    let config = SqlConfig::parse(&url).expect("a good URL");
    World(Arc::new(OnSql::connect(config).await.expect("it opens")))
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod on_kv {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World(super::books::on(&super::Store::new()))).await;
            })*
        }
        mod on_mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = super::sql(super::MariaDb::shared(), stringify!($name)).await;
                super::$name(world).await;
            })*
        }
        mod on_seekdb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = super::sql(super::Seekdb::shared(), stringify!($name)).await;
                super::$name(world).await;
            })*
        }
    };
}

suite! {
    a_payment_moves_money_once_whatever_is_sent_again
    a_resolved_key_is_spent
    fences_only_rise_and_the_deposed_are_told
    a_part_of_a_shard_has_a_fence_of_its_own
    what_waits_together_is_written_once_and_answered_apart
    walks_see_every_payment_once_and_none_after_their_moment
    two_units_take_a_shard_from_each_other_and_lose_nothing
}

async fn a_payment_moves_money_once_whatever_is_sent_again(world: World) {
    let books = world.ready(100).await;
    let paid = pay(&books, "k1", 60).await.expect("paid");
    assert_eq!((paid.payment.debit.balance.minor(), paid.replayed), (40, false));
    assert!(pay(&books, "k1", 60).await.expect("replayed").replayed);
    assert!(matches!(pay(&books, "k1", 61).await, Err(Error::KeyReused { .. })));
    assert!(matches!(
        pay(&books, "k2", 41).await,
        Err(Error::InsufficientFunds { balance }) if balance.minor() == 40
    ));
    let other: UserId = "3088001234".parse().expect("an id");
    let order = books::order_of(&other, "k1", 1);
    let unknown = books.execute(order, None, books::soon()).await;
    assert!(matches!(unknown, Err(Error::UnknownAccount { .. })), "{unknown:?}");
    // Another process of the unit remembers nothing.
    let fresh = world.of("rz01");
    fresh.fence(books::user().bucket(), books::soon()).await.expect("seen");
    assert!(pay(&fresh, "k1", 60).await.expect("replayed").replayed);
    pay(&fresh, "k3", 40).await.expect("paid");
    // The first one's memory is old now, and it must notice.
    assert!(matches!(pay(&books, "k4", 1).await, Err(Error::InsufficientFunds { .. })));
    let account = books.account(&books::user(), books::soon()).await.expect("an account");
    assert_eq!((account.balance.minor(), account.version.0), (0, 3));
    let again = books.execute(books::opening(&books::user(), 100), None, books::soon()).await;
    assert!(!again.expect("the same").created);
    sound(&books, 2).await;
}

async fn a_resolved_key_is_spent(world: World) {
    let books = world.ready(100).await;
    let id: PaymentId = "2088001234.k1".parse().expect("an id");
    let unseen = books.payment(&id, books::soon()).await;
    assert!(matches!(unseen, Err(Error::PaymentNotSeen { .. })));
    let resolved = books.execute(Resolve(id.clone()), None, books::soon()).await.expect("resolved");
    assert!(matches!(resolved, Payment::Cancelled(_)));
    assert!(matches!(pay(&books, "k1", 1).await, Err(Error::PaymentCancelled { .. })));
    let again = books.execute(Resolve(id.clone()), None, books::soon()).await.expect("resolved");
    assert_eq!(again, resolved);
    assert_eq!(books.payment(&id, books::soon()).await.expect("there"), resolved);
    sound(&books, 0).await;
}

async fn fences_only_rise_and_the_deposed_are_told(world: World) {
    let rz01 = world.ready(100).await;
    pay(&rz01, "k1", 1).await.expect("paid");
    let rz03 = world.of("rz03");
    let shard = books::shard();
    let raise = async |books: &Books, epoch| {
        books.raise(shard, Epoch(epoch), books::soon()).await.expect("an answer")
    };
    assert!(matches!(raise(&rz01, 1).await, Raised::Ours(_)), "raised again");
    assert!(matches!(raise(&rz03, 1).await, Raised::Refused(f) if f.unit.as_str() == "rz01"));
    assert!(matches!(raise(&rz03, 4).await, Raised::Ours(_)));
    assert!(matches!(raise(&rz01, 3).await, Raised::Refused(f) if f.epoch == Epoch(4)));
    let rz01 = world.of("rz01");
    assert_eq!(rz01.desk(books::user().bucket()).standing(), Standing::Unseen);
    for deposed in [&rz01, &world.of("rz02")] {
        let refused = pay(deposed, "k2", 1).await;
        assert!(
            matches!(&refused, Err(Error::Misdirected { fence: Some(f), .. }) if f.epoch == Epoch(4)),
            "{refused:?}"
        );
        let refused = deposed.account(&books::user(), books::soon()).await;
        assert!(matches!(refused, Err(Error::Misdirected { .. })), "{refused:?}");
    }
    pay(&rz03, "k2", 1).await.expect("paid");
    sound(&rz03, 2).await;
}

/// The part of the user's shard from its bucket on, as a split would cut it off.
fn part() -> Extent {
    let whole = books::shard().buckets;
    let buckets = BucketRange::new(books::user().bucket(), whole.last()).expect("in order");
    Extent { shard: Shard::new(100).expect("a shard"), buckets }
}

async fn a_part_of_a_shard_has_a_fence_of_its_own(world: World) {
    let (rz01, rz03) = (world.ready(100).await, world.of("rz03"));
    let (part, whole) = (part(), books::shard());
    let left = Extent { buckets: whole.buckets.without(part.buckets).expect("an end"), ..whole };
    let raise = async |books: &Books, extent: Extent, epoch| {
        books.raise(extent, Epoch(epoch), books::soon()).await.expect("an answer")
    };
    // Cutting it off has changed nothing, so its owner holds it already.
    assert!(matches!(raise(&rz01, part, 1).await, Raised::Ours(_)));
    pay(&rz01, "k1", 1).await.expect("paid");
    assert!(matches!(raise(&rz03, part, 2).await, Raised::Ours(_)));
    pay(&rz03, "k2", 1).await.expect("paid");
    assert!(matches!(pay(&rz01, "k3", 1).await, Err(Error::Misdirected { .. })));
    // A raise of before the split comes late: some rows have its epoch, others are
    // above, and it changes none.
    assert!(matches!(raise(&rz01, whole, 1).await, Raised::Refused(f) if f.epoch == Epoch(2)));
    pay(&rz03, "k4", 1).await.expect("paid");
    for books in [&rz01, &rz03] {
        let mixed = books.audit(whole, books::soon()).await;
        assert!(matches!(mixed, Err(Error::Misdirected { .. })), "{mixed:?}");
    }
    // What is left goes its own way, by epochs that the part has had too.
    assert!(matches!(raise(&world.of("rz02"), left, 2).await, Raised::Ours(_)));
    pay(&rz03, "k5", 1).await.expect("paid");
    let audit = rz03.audit(part, books::soon()).await.expect("audited");
    assert_eq!((audit.payments, audit.violation_count), (4, 0), "{audit:?}");
}

async fn what_waits_together_is_written_once_and_answered_apart(world: World) {
    let books = world.ready(50).await;
    let waiting: Vec<_> = (0..100)
        .map(|n| {
            let books = books.clone();
            // Every tenth key comes twice, and there is money for half of them.
            let key = format!("k{}", if n % 10 == 9 { n - 1 } else { n });
            tokio::spawn(async move { pay(&books, &key, 1).await })
        })
        .collect();
    let (mut paid, mut replayed, mut refused) = (0, 0, 0);
    for one in waiting {
        match one.await.expect("no panic") {
            Ok(done) if done.replayed => replayed += 1,
            Ok(_) => paid += 1,
            Err(Error::InsufficientFunds { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((paid, paid + replayed + refused), (50, 100));
    assert!(replayed > 0);
    sound(&books, 50).await;
}

async fn walks_see_every_payment_once_and_none_after_their_moment(world: World) {
    let books = world.ready(10_000).await;
    for n in 0..30 {
        pay(&books, &format!("k{n:03}"), 1).await.expect("paid");
    }
    let (mut scan, revision) =
        books.export(books::shard(), None, books::soon()).await.expect("ours");
    for n in 30..40 {
        pay(&books, &format!("k{n:03}"), 1).await.expect("paid");
    }
    let mut seen = Vec::new();
    while let Some(row) = scan.next(books.database()).await.expect("a row") {
        assert!(row.committed <= revision);
        seen.push(payment_id(&row.key).expect("an id").key.to_string());
    }
    let expected: Vec<_> = (0..30).map(|n| format!("k{n:03}")).collect();
    assert_eq!(seen, expected);
    let after = "2088001234.k035".parse().expect("an id");
    let (mut scan, _) =
        books.export(books::shard(), Some(&after), books::soon()).await.expect("ours");
    let mut rest = 0;
    while scan.next(books.database()).await.expect("a row").is_some() {
        rest += 1;
    }
    assert_eq!(rest, 4);
    let after = crate::account::Version(21);
    let part = books.statement(&books::user(), after, 10, books::soon()).await.expect("a part");
    let versions: Vec<_> = part.payments.iter().map(|(_, paid)| paid.debit.version.0).collect();
    assert_eq!((versions, part.more), ((22..32).collect(), true));
    sound(&books, 40).await;
}

/// Payments run at both while the fence goes back and forth; what was answered
/// with "paid" is there once, and each bucket's commits are in order of epochs.
async fn two_units_take_a_shard_from_each_other_and_lose_nothing(world: World) {
    const RAISES: u64 = 12;
    let users: Vec<UserId> =
        (1..=4).map(|n| format!("{n}088001234").parse().expect("an id")).collect();
    let units = [world.of("rz01"), world.of("rz03")];
    units[0].raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
    for user in &users {
        open(&units[0], user, 100_000).await;
    }
    let (over, is_over) = tokio::sync::watch::channel(false);
    let payers: Vec<_> = users
        .iter()
        .flat_map(|user| units.iter().map(move |unit| (user.clone(), unit.clone())))
        .map(|(user, unit)| {
            let is_over = is_over.clone();
            tokio::spawn(async move {
                let mut acked = Vec::new();
                for n in 0.. {
                    let key = format!("{}-{n}", unit.unit());
                    match unit.execute(books::order_of(&user, &key, 1), None, books::soon()).await {
                        Ok(_) => acked.push(format!("{user}.{key}")),
                        Err(Error::Misdirected { .. } | Error::Contention) => {
                            tokio::task::yield_now().await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    if *is_over.borrow() {
                        break;
                    }
                }
                acked
            })
        })
        .collect();
    for n in 0..RAISES {
        let unit = &units[usize::from(n % 2 == 0)];
        let raised = unit.raise(books::shard(), Epoch(2 + n), books::soon()).await.expect("raised");
        assert!(matches!(raised, Raised::Ours(_)), "{raised:?}");
        let user = &users[n as usize % users.len()];
        let order = books::order_of(user, &format!("raised-{n}"), 1);
        unit.execute(order, None, books::soon()).await.expect("the owner pays");
    }
    over.send(true).expect("they still pay");
    let mut acked: Vec<String> = Vec::new();
    for payer in payers {
        acked.extend(payer.await.expect("no panic"));
    }
    units[0].raise(books::shard(), Epoch(100), books::soon()).await.expect("raised");
    sound(&units[0], acked.len() as u64 + RAISES).await;
    let (mut scan, _) = units[0].export(books::shard(), None, books::soon()).await.expect("ours");
    let mut commits = Vec::new();
    while let Some(row) = scan.next(units[0].database()).await.expect("a row") {
        let id = payment_id(&row.key).expect("an id");
        let payment = Payment::decode(&row.value).expect("a payment");
        commits.push((id.payer.bucket(), row.committed, payment.by().epoch));
    }
    commits.sort();
    for pair in commits.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        assert!(pair[0].2 <= pair[1].2, "a deposed unit wrote: {pair:?}");
    }
}
