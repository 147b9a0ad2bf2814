//! A store in memory: the rules of crate `keyspace`, and faults on request.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use keyspace::{Config, Keyspace, Values};
use kv::{
    Error, Kv, LeaseGranted, LeaseId, LeaseInfo, Op, RangeRequest, RangeResponse, Revision, Txn,
    TxnResponse, WatchRequest, WatchStream,
};
use rt::random::Random;

/// What happens to a transaction that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// Applied, and the answer lost.
    AppliedSilently,
    /// Not applied, and nobody can tell.
    Lost,
    /// The answer is lost and the write happens this many yields later.
    Late(u32),
    /// Refused before anything was sent.
    Unreachable,
    /// Never answered.
    Hangs,
}

/// One keyspace, shared by all who clone it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    keyspace: Mutex<Keyspace>,
    script: Mutex<Script>,
    txns: Mutex<u64>,
    counted: Mutex<usize>,
}

enum Script {
    /// The next fates, then answers.
    Fixed(Vec<Fate>),
    /// Faults with probability 1 in `one_in`, and yields everywhere.
    Random { random: Random, one_in: u64 },
}

// === impl Store ===

impl Store {
    pub fn new() -> Store {
        Store::with(Script::Fixed(Vec::new()))
    }

    pub fn random(seed: u64, one_in: u64) -> Store {
        Store::with(Script::Random { random: Random::seeded(seed), one_in })
    }

    fn with(script: Script) -> Store {
        let keyspace = Mutex::new(Keyspace::new(Config::default()));
        Store(Arc::new(Inner {
            keyspace,
            script: Mutex::new(script),
            txns: Mutex::default(),
            counted: Mutex::default(),
        }))
    }

    /// The fates of the next writes, the first one first.
    pub fn next(&self, fates: &[Fate]) {
        let fates = fates.iter().rev().copied().collect();
        *self.0.script.lock().expect("no panic") = Script::Fixed(fates);
    }

    pub fn calm(&self) {
        self.next(&[]);
    }

    /// Transactions asked for so far, reads included.
    pub fn txns(&self) -> u64 {
        *self.0.txns.lock().expect("no panic")
    }

    /// Rows that ranges made the keyspace count so far.
    pub fn counted(&self) -> usize {
        *self.0.counted.lock().expect("no panic")
    }

    fn fate(&self, writes: bool) -> (Fate, u32) {
        match &mut *self.0.script.lock().expect("no panic") {
            Script::Fixed(fates) if writes => (fates.pop().unwrap_or(Fate::Answered), 0),
            Script::Fixed(_) => (Fate::Answered, 0),
            Script::Random { random, one_in } => {
                let yields = random.below(4) as u32;
                let faulty = writes && random.below(*one_in) == 0;
                let fate = match random.below(4) {
                    _ if !faulty => Fate::Answered,
                    0 => Fate::AppliedSilently,
                    1 => Fate::Lost,
                    2 => Fate::Late(random.below(40) as u32),
                    _ => Fate::Unreachable,
                };
                (fate, yields)
            }
        }
    }

    fn apply(&self, txn: &Txn) -> Result<TxnResponse, Error> {
        let mut keyspace = self.0.keyspace.lock().expect("no panic");
        keyspace.apply(txn, &Values::default()).map(|applied| applied.response)
    }
}

async fn yields(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Kv for Store {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let (_, before) = self.fate(false);
        yields(before).await;
        let keyspace = self.0.keyspace.lock().expect("no panic");
        let response = keyspace.range(&request, keyspace.revision(), &Values::default())?;
        *self.0.counted.lock().expect("no panic") += response.count;
        Ok(response)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        *self.0.txns.lock().expect("no panic") += 1;
        let writes = txn.success.iter().any(|op| !matches!(op, Op::Range(_)));
        let (fate, around) = self.fate(writes);
        yields(around).await;
        let unknown = || Err(Error::Unknown("the answer was lost".into()));
        match fate {
            Fate::Answered => {
                let response = self.apply(&txn);
                yields(around).await;
                response
            }
            Fate::AppliedSilently => self.apply(&txn).and_then(|_| unknown()),
            Fate::Lost => unknown(),
            Fate::Late(after) => {
                let store = self.clone();
                tokio::spawn(async move {
                    yields(after).await;
                    store.apply(&txn)
                });
                unknown()
            }
            Fate::Unreachable => Err(Error::Unreachable("nobody there".into())),
            Fate::Hangs => std::future::pending().await,
        }
    }

    async fn compact(&self, _: Revision) -> Result<Revision, Error> {
        Err(Error::PermissionDenied)
    }
    async fn watch(&self, _: WatchRequest) -> Result<WatchStream, Error> {
        Err(Error::PermissionDenied)
    }
    async fn lease_grant(&self, _: Option<LeaseId>, _: Duration) -> Result<LeaseGranted, Error> {
        Err(Error::PermissionDenied)
    }
    async fn lease_revoke(&self, _: LeaseId) -> Result<(), Error> {
        Err(Error::PermissionDenied)
    }
    async fn lease_keep_alive(&self, _: LeaseId) -> Result<Duration, Error> {
        Err(Error::PermissionDenied)
    }
    async fn lease_info(&self, _: LeaseId, _: bool) -> Result<LeaseInfo, Error> {
        Err(Error::PermissionDenied)
    }
}

/// Helpers that every test of the books needs.
pub mod books {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;
    use topology::{Epoch, Extent, UserId};

    use super::Store;
    use crate::{
        Amount, Balance, Books, Mark, OnKv, open::Open, pay::Pay, payment::Order, raise::Raised,
    };

    pub fn of(unit: &str, store: &Store) -> Books {
        Books::new(unit.parse().expect("a name"), on(store))
    }

    pub fn on(store: &Store) -> Arc<OnKv> {
        Arc::new(OnKv::new(|_| Arc::new(store.clone())))
    }

    pub fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    pub fn user() -> UserId {
        "2088001234".parse().expect("an id")
    }

    pub fn shard() -> Extent {
        Extent::around(user().bucket())
    }

    pub fn order(key: &str, amount: u64) -> Pay {
        order_of(&user(), key, amount)
    }

    pub fn order_of(payer: &UserId, key: &str, amount: u64) -> Pay {
        Pay(Order {
            id: format!("{payer}.{key}").parse().expect("an id"),
            merchant: "tea".parse().expect("a merchant"),
            amount: Amount::new(amount).expect("an amount"),
            currency: "CNY".parse().expect("a currency"),
        })
    }

    pub fn opening(user: &UserId, balance: u64) -> Open {
        Open {
            user: user.clone(),
            currency: "CNY".parse().expect("a currency"),
            opening: Balance::new(balance).expect("a balance"),
            mark: Mark::none(),
        }
    }

    /// Books of rz01 at epoch 1 with the user's account holding `balance`.
    pub async fn ready(store: &Store, balance: u64) -> Books {
        let books = of("rz01", store);
        let raised = books.raise(shard(), Epoch(1), soon()).await.expect("raised");
        assert!(matches!(raised, Raised::Ours(_)));
        books.execute(opening(&user(), balance), None, soon()).await.expect("opened");
        books
    }
}
