//! Users who pay, try again under the same key until they have a definite
//! answer, and write down what they were told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use rt::random::Random;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use topology::UserId;

use crate::{
    edge::Asked,
    layout::{CENTERS, Process, SHARDS},
    net::{Face, Net, Times},
    played::Whole,
};

/// Cheap to clone; clones are one book.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Told>>);

#[derive(Clone, Default)]
pub struct Told {
    /// By id.
    pub payments: BTreeMap<String, Wanted>,
    /// Users whose accounts were opened.
    pub accounts: BTreeMap<UserId, u64>,
    pub contradictions: Vec<String>,
}

/// A payment as it was asked for, and what came of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub user: UserId,
    pub amount: u64,
    pub tries: u32,
    pub asked_ms: u64,
    pub verdict: Option<(u64, Verdict)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    Cancelled,
}

pub struct Payer {
    pub number: u64,
    pub net: Net,
    pub history: History,
    pub random: Random,
    pub stop: Arc<AtomicBool>,
    /// Set once nothing is ordered any more: until then there is paying to do.
    pub operators_left: Arc<AtomicBool>,
    /// How many payers are done.
    pub left: Arc<AtomicU64>,
}

pub const OPENING: u64 = 1_000_000_000;
const AMOUNT_MAX: u64 = 500;
const PAUSE_MS_MAX: u64 = 250;
const RETRY_MS_MAX: u64 = 400;
/// What a user's device waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// After so many tries a user asks for a decision, instead of for the payment.
const RESOLVE_AFTER: u32 = 6;

/// Two of each shard.
#[must_use]
pub fn users() -> Vec<UserId> {
    let user = |shard: u16, last: u16| format!("20880000{shard:02}{last}").parse();
    let all = (0..SHARDS).flat_map(|shard| [user(shard, 3), user(shard, 7)]);
    all.map(|user| user.expect("eleven digits")).collect()
}

// === impl History ===

impl History {
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    /// How many payments have no definite answer yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().payments.values().filter(|wanted| wanted.verdict.is_none()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("one thread")
    }
}

// === impl Payer ===

impl Payer {
    pub async fn run(mut self) {
        let users = users();
        let ours: Vec<_> = users
            .iter()
            .enumerate()
            .filter(|(at, _)| *at as u64 % 3 == self.number % 3)
            .map(|(_, user)| user.clone())
            .collect();
        for user in &ours {
            self.open(user).await;
        }
        let mut count = 0;
        while !(self.stop.load(SeqCst) && self.operators_left.load(SeqCst)) {
            let user = ours[self.random.below(ours.len() as u64) as usize].clone();
            count += 1;
            self.pay(&user, format!("p{}-{count}", self.number)).await;
            sleep(Duration::from_millis(self.random.below(PAUSE_MS_MAX))).await;
        }
        // Whatever happened, everybody can pay again.
        for user in ours {
            self.pay(&user, format!("p{}-last", self.number)).await;
        }
        self.left.fetch_add(1, SeqCst);
    }

    async fn open(&mut self, user: &UserId) {
        let body = json!({ "uid": user, "currency": "CNY", "opening_balance": OPENING });
        loop {
            let answer = self.ask(user, "/v1/accounts", "open", body.to_string().into()).await;
            if let Some((StatusCode::OK | StatusCode::CREATED | StatusCode::CONFLICT, ..)) = answer
            {
                self.history.lock().accounts.insert(user.clone(), OPENING);
                return;
            }
            self.rest().await;
        }
    }

    async fn pay(&mut self, user: &UserId, key: String) {
        let amount = 1 + self.random.below(AMOUNT_MAX);
        let merchant = format!("shop{}", self.random.below(2));
        let id = format!("{user}.{key}");
        let asked_ms = self.net.now_ms();
        let wanted = Wanted { user: user.clone(), amount, tries: 0, asked_ms, verdict: None };
        self.history.lock().payments.insert(id.clone(), wanted);
        let body =
            json!({ "payer": user, "merchant": merchant, "amount": amount, "currency": "CNY" });
        let body = Bytes::from(body.to_string());
        let mut tries = 0;
        loop {
            tries += 1;
            let resolves = tries > RESOLVE_AFTER && self.random.below(3) == 0;
            let answer = if resolves {
                let path = format!("/v1/payments/{id}:resolve");
                self.ask(user, &path, &key, Bytes::new()).await
            } else {
                self.ask(user, "/v1/payments", &key, body.clone()).await
            };
            if self.note(&id, tries, answer) {
                return;
            }
            self.rest().await;
        }
    }

    /// Writes down what was said. True when that is the end of it.
    fn note(&self, id: &str, tries: u32, answer: Option<Whole>) -> bool {
        let verdict = answer.as_ref().and_then(verdict);
        let mut told = self.history.lock();
        let wanted = told.payments.get_mut(id).expect("it was put there");
        wanted.tries = tries;
        if let Some(verdict) = verdict {
            wanted.verdict = Some((self.net.now_ms(), verdict));
            return true;
        }
        let Some((status, _, said)) = answer else { return false };
        // Somebody's word against it may be that it was cancelled.
        let refused = status.is_client_error() && status != StatusCode::CONFLICT;
        if refused {
            wanted.verdict = Some((self.net.now_ms(), Verdict::Cancelled));
            let said = String::from_utf8_lossy(&said);
            told.contradictions.push(format!("{id}: {status}: {said}"));
        }
        refused
    }

    async fn ask(&mut self, user: &UserId, path: &str, key: &str, body: Bytes) -> Option<Whole> {
        let center = self.random.below(CENTERS as u64) as usize;
        let (user, path, key) = (user.clone(), path.to_owned(), key.to_owned());
        let asked = Asked { user, method: Method::POST, path, key, body };
        let (from, to) = (Process::People, Process::Center(center));
        let answer = self.net.ask(from, to, Times::Repeated, move |face| {
            let Face::Center { edge, .. } = face.clone() else { return None };
            let asked = asked.clone();
            Some(Box::pin(async move { edge.handle(asked).await }))
        });
        timeout(PATIENCE, answer).await.ok()?.ok()
    }

    async fn rest(&mut self) {
        sleep(Duration::from_millis(50 + self.random.below(RETRY_MS_MAX))).await;
    }
}

fn verdict((status, _, body): &Whole) -> Option<Verdict> {
    if !matches!(*status, StatusCode::OK | StatusCode::CREATED) {
        return None;
    }
    let said: Value = serde_json::from_slice(body).ok()?;
    match said["status"].as_str()? {
        "Committed" => Some(Verdict::Committed),
        "Cancelled" => Some(Verdict::Cancelled),
        _ => None,
    }
}
