//! Payments over a database: the ledger's way beside the same SQL written
//! naively, in turns on one server.
//!
//! Both change the same kinds of rows in one durable transaction per payment:
//! a bucket's fence, the payer's account, the merchant's clearing account of
//! that bucket, and the record. The naive side asks one statement after the
//! other over a connection per client, as a program with an ORM would. Ours
//! goes by [`ledger::Books`]; neither side pays for HTTP.

mod naive;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use futures::future::{LocalBoxFuture, try_join_all};
use ledger::{Books, Mark, OnSql, Open, Order, Pay};
use serde::Serialize;
use tokio::time::Instant;
use topology::{Epoch, Extent, Layout, UserId};

use self::naive::Naive;
use crate::{
    Database, Figures,
    drive::{Tally, Window},
};

const WARM_UP: Duration = Duration::from_millis(500);
const ACCOUNTS: usize = 400;
/// Nobody becomes poor by a run of payments of one.
const BALANCE: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct LedgerPlan {
    pub database: Database,
    pub clients: Vec<usize>,
    pub duration: Duration,
    pub rounds: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct LedgerReport {
    pub database: String,
    pub runs: Vec<LedgerRun>,
}

/// Who pays: users of all buckets, or of one, all to one merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payers {
    Spread,
    Hot,
}

#[derive(Clone, Debug, Serialize)]
pub struct LedgerRun {
    pub payers: Payers,
    pub clients: usize,
    pub polis: Figures,
    pub naive: Figures,
    /// Ours by the naive one, of rates.
    pub ratio: f64,
}

/// One way to pay.
trait Payments {
    /// By the client of this number; it has one payment under way at most.
    fn pay<'a>(&'a self, client: usize, user: &'a UserId, key: String) -> Paying<'a>;
}

type Paying<'a> = LocalBoxFuture<'a, anyhow::Result<()>>;

struct Ours(Books);

/// Measures, and removes what it wrote. The database must be empty. None if it
/// was `stopped` before its end.
pub async fn run_ledger(
    plan: &LedgerPlan,
    stopped: impl Future<Output = ()>,
    mut each: impl FnMut(&LedgerRun),
) -> anyhow::Result<Option<LedgerReport>> {
    let database = plan.database.check().await?;
    let measured = tokio::select! {
        measured = measure(plan, &mut each) => measured.map(Some),
        () = stopped => Ok(None),
    };
    let cleared = plan.database.clear().await;
    let runs = measured?;
    cleared?;
    Ok(runs.map(|runs| LedgerReport { database, runs }))
}

async fn measure(
    plan: &LedgerPlan,
    each: &mut impl FnMut(&LedgerRun),
) -> anyhow::Result<Vec<LedgerRun>> {
    let ours = Ours::build(plan).await?;
    let most = plan.clients.iter().copied().max().unwrap_or(1);
    let naive = Naive::build(&plan.database, most).await?;
    let mut runs = Vec::new();
    for payers in [Payers::Spread, Payers::Hot] {
        let users = payers.users()?;
        ours.open(&users).await.context("open accounts")?;
        naive.open(&users, BALANCE).await.context("open the naive accounts")?;
        for clients in plan.clients.iter().copied() {
            let (mut by_us, mut by_naive) = (Vec::new(), Vec::new());
            for round in 0..plan.rounds {
                let share = plan.duration / plan.rounds;
                let key = format!("{clients}-{round}");
                by_us.push((closed_loop(&ours, &users, clients, &key, share).await?, None));
                by_naive.push((closed_loop(&naive, &users, clients, &key, share).await?, None));
            }
            let (polis, naive) = (Figures::of(&by_us), Figures::of(&by_naive));
            let ratio = if naive.per_s == 0.0 { 0.0 } else { polis.per_s / naive.per_s };
            let run = LedgerRun { payers, clients, polis, naive, ratio };
            each(&run);
            runs.push(run);
        }
    }
    ours.check().await?;
    Ok(runs)
}

async fn closed_loop(
    payments: &dyn Payments,
    users: &[UserId],
    clients: usize,
    run: &str,
    share: Duration,
) -> anyhow::Result<Tally> {
    let start = Instant::now() + WARM_UP;
    let window = Window { start, end: start + share };
    let loops = (0..clients).map(async |client| {
        let mut tally = Tally::new(window);
        for n in 0_usize.. {
            let user = &users[(client + n * clients) % users.len()];
            let since = Instant::now();
            payments.pay(client, user, format!("{run}-{client}-{n}")).await?;
            if !tally.answered(since, Instant::now()) {
                break;
            }
        }
        anyhow::Ok(tally)
    });
    let mut all = Tally::new(window);
    for tally in try_join_all(loops).await? {
        all.add(&tally);
    }
    Ok(all)
}

// === impl Payers ===

impl Payers {
    /// As many users, with different ids for each kind.
    fn users(self) -> anyhow::Result<Vec<UserId>> {
        let first: u64 = match self {
            Payers::Spread => 2_088_000_000_000,
            Payers::Hot => 3_088_000_000_000,
        };
        let mut users: Vec<UserId> = Vec::new();
        for n in 0.. {
            let user: UserId = (first + n * 7).to_string().parse()?;
            let is_wanted = match (self, users.first()) {
                (Payers::Hot, Some(known)) => known.bucket() == user.bucket(),
                _ => true,
            };
            if is_wanted {
                users.push(user);
            }
            if users.len() == ACCOUNTS {
                break;
            }
        }
        Ok(users)
    }
}

fn shards() -> impl Iterator<Item = Extent> {
    let layout = Layout::default();
    let shards: Vec<_> = layout.shards().filter_map(|shard| layout.extent(shard)).collect();
    shards.into_iter()
}

// === impl Ours ===

impl Ours {
    async fn build(plan: &LedgerPlan) -> anyhow::Result<Ours> {
        let database = OnSql::connect(plan.database.config.clone()).await?;
        let books = Books::new("bench".parse()?, Arc::new(database));
        let all: Vec<_> = shards().map(|extent| (extent, Epoch(1))).collect();
        for (_, raised) in books.raise_all(&all, Instant::now() + DEADLINE).await {
            raised.context("raise a fence")?;
        }
        Ok(Ours(books))
    }

    async fn open(&self, users: &[UserId]) -> anyhow::Result<()> {
        for user in users {
            let open = Open {
                user: user.clone(),
                currency: "CNY".parse()?,
                opening: ledger::Balance::new(BALANCE).context("a balance")?,
                mark: Mark::none(),
            };
            self.0.execute(open, None, Instant::now() + DEADLINE).await?;
        }
        Ok(())
    }

    /// What was measured is worth nothing if the books are not right.
    async fn check(&self) -> anyhow::Result<()> {
        for extent in shards() {
            let audit = self.0.audit(extent, Instant::now() + DEADLINE).await?;
            let shard = extent.shard;
            ensure!(audit.violation_count == 0, "shard {shard}: {:?}", audit.violations);
        }
        Ok(())
    }
}

impl Payments for Ours {
    fn pay<'a>(&'a self, _: usize, user: &'a UserId, key: String) -> Paying<'a> {
        Box::pin(async move {
            let order = Order {
                id: format!("{user}.{key}").parse()?,
                merchant: "tea".parse()?,
                amount: ledger::Amount::new(1)?,
                currency: "CNY".parse()?,
            };
            self.0.execute(Pay(order), None, Instant::now() + DEADLINE).await?;
            Ok(())
        })
    }
}
