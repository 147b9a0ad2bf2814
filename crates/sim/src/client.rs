//! Clients: each asks one thing at a time, of whichever replica answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use checker::history::{
    Answer, Compare, Is, Keys, Op, Outcome, Range, Ranged, Request, Response, Txn,
};
use kv::Error;
use rt::random::Random;

use crate::{
    call, convert,
    fault::Quiet,
    recorder::Recorder,
    replica::{Directory, Reached},
};

/// Longer than a takeover, so that most find their answer.
const PATIENCE: Duration = Duration::from_secs(3);
const THINK_MS_MAX: u64 = 60;

/// Few, so that clients meet; and two that are written together.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const PAIR: [&str; 2] = ["p", "q"];

const TTL_MS: [u64; 3] = [2_000, 3_000, 5_000];

pub struct Client {
    id: u32,
    directory: Directory,
    recorder: Recorder,
    random: Random,
    stop: Arc<AtomicBool>,
    quiet: Quiet,
    /// Whether it has leases. Without any, a leader of which nobody asks
    /// anything has nothing to write.
    leases_too: bool,
    /// The replica that it asks.
    at: usize,
    /// The highest revision that it was told of.
    known: u64,
    /// What it last saw of each key: when it was written.
    seen: Vec<(String, u64)>,
    leases: Vec<i64>,
    written: u64,
}

// === impl Client ===

impl Client {
    pub fn new(
        id: u32,
        directory: Directory,
        recorder: Recorder,
        random: Random,
        stop: Arc<AtomicBool>,
        quiet: Quiet,
        leases_too: bool,
    ) -> Client {
        let at = id as usize;
        Client {
            id,
            directory,
            recorder,
            random,
            stop,
            quiet,
            leases_too,
            at,
            known: 1,
            seen: Vec::new(),
            leases: Vec::new(),
            written: 0,
        }
    }

    pub async fn run(mut self) {
        while !self.stop.load(SeqCst) {
            let think = self.random.below(THINK_MS_MAX);
            tokio::time::sleep(Duration::from_millis(think)).await;
            let request = match self.leave_alone() {
                true => Request::Range(self.read_now()),
                false => self.think(),
            };
            self.ask(request).await;
        }
    }

    /// Asks, writes down what came of it, and whether it was answered.
    pub async fn ask(&mut self, request: Request) -> bool {
        let Some(reached) = self.replica() else {
            self.at += 1;
            return false;
        };
        let call = self.recorder.stamp();
        // What is passed on would reach a leader that is to be left alone.
        let by_face = self.quiet.which().is_none() && self.random.below(2) == 0;
        let asking = async {
            match by_face {
                true => call::by_face(reached, request.clone()).await,
                false => call::inside(&*reached.kv, &request).await,
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        let answer = asked.unwrap_or_else(|_| Err(Error::Unknown("the client gave up".into())));
        let outcome = convert::outcome(answer);
        let answered = matches!(outcome, Outcome::Ok(_));
        if let Outcome::Ok(response) = &outcome {
            self.learn(&request, response);
        } else {
            self.at += 1;
        }
        self.recorder.operation(self.id, call, request, outcome);
        answered
    }

    /// Asks until somebody answers.
    pub async fn insist(&mut self, request: Request) {
        while !self.ask(request.clone()).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn known(&self) -> u64 {
        self.known
    }

    fn replica(&self) -> Option<Reached> {
        let directory = self.directory.lock().expect("one thread");
        directory[self.at % directory.len()].clone()
    }

    /// Whether to do nothing but read here. Some stay with a replica that is to
    /// be left alone, to hear what it says, and the others keep away from it.
    fn leave_alone(&mut self) -> bool {
        let replicas = self.directory.lock().expect("one thread").len();
        let here = self.quiet.which() == Some(self.at % replicas);
        if here && self.id.is_multiple_of(2) {
            self.at += 1;
        }
        here && !self.id.is_multiple_of(2)
    }

    fn read_now(&mut self) -> Range {
        Range { keys: Keys::one(self.key()), revision: None, limit: None, serializable: false }
    }

    fn think(&mut self) -> Request {
        match self.random.below(100) {
            0..30 => self.put(),
            30..40 => self.delete(),
            40..55 => self.swap(),
            55..62 => self.put_pair(),
            62..82 => Request::Range(self.read()),
            82..85 => {
                let back = self.random.below(40);
                Request::Compact { revision: self.known.saturating_sub(back) }
            }
            85.. if !self.leases_too => Request::Range(self.read_now()),
            85..90 => {
                let lease = i64::from(self.id) * 1_000_000 + self.recorder.next_id() as i64;
                let ttl_ms = TTL_MS[self.random.below(3) as usize];
                Request::Grant { lease, ttl_ms }
            }
            90..97 => match self.lease() {
                Some(lease) => Request::KeepAlive { lease },
                None => self.put(),
            },
            _ => match self.leases.pop() {
                Some(lease) => Request::Revoke { lease },
                None => self.put(),
            },
        }
    }

    fn put(&mut self) -> Request {
        let lease = if self.random.below(4) == 0 { self.lease() } else { None };
        let put = Op::Put { key: self.key(), value: self.value(), lease };
        Request::Txn(Txn { success: vec![put], ..Txn::default() })
    }

    fn delete(&mut self) -> Request {
        let delete = Op::Delete(Keys::one(self.key()));
        Request::Txn(Txn { success: vec![delete], ..Txn::default() })
    }

    /// Writes if nobody has written since, as API servers do.
    fn swap(&mut self) -> Request {
        let key = self.key();
        let seen = self.seen.iter().rev().find(|(known, _)| *known == key);
        let is = Is::Modified(seen.map_or(0, |(_, modified)| *modified));
        let put = Op::Put { key: key.clone(), value: self.value(), lease: None };
        let get = Op::Get(Keys::one(key.clone()));
        let compares = vec![Compare { key, is }];
        Request::Txn(Txn { compares, success: vec![put], failure: vec![get] })
    }

    fn put_pair(&mut self) -> Request {
        let value = self.value();
        let put = |key: &str| Op::Put { key: key.into(), value: value.clone(), lease: None };
        Request::Txn(Txn { success: PAIR.map(put).to_vec(), ..Txn::default() })
    }

    fn read(&mut self) -> Range {
        let keys = match self.random.below(5) {
            0 => Keys::all(),
            1 => Keys { key: "p".into(), end: Some("r".into()) },
            _ => Keys::one(self.key()),
        };
        let back = self.random.below(30);
        let old = (self.random.below(8) == 0).then(|| self.known.saturating_sub(back).max(1));
        Range { keys, revision: old, limit: None, serializable: self.random.below(4) == 0 }
    }

    fn key(&mut self) -> String {
        KEYS[self.random.below(KEYS.len() as u64) as usize].into()
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.id, self.written)
    }

    fn lease(&mut self) -> Option<i64> {
        let which = self.random.below(self.leases.len() as u64) as usize;
        self.leases.get(which).copied()
    }

    fn learn(&mut self, request: &Request, response: &Response) {
        let told = match response {
            Response::Range(Ranged { revision, kvs, .. }) => {
                self.seen.extend(kvs.iter().map(|kv| (kv.key.clone(), kv.modified)));
                Some(*revision)
            }
            Response::Txn(Answer { revision, .. }) => Some(*revision),
            Response::Compacted { revision } => Some(*revision),
            Response::Lease { .. } | Response::Revoked => None,
        };
        self.known = self.known.max(told.unwrap_or(0));
        if let (Request::Grant { lease, .. }, Response::Lease { .. }) = (request, response) {
            self.leases.push(*lease);
        }
        // As many as anyone will look for.
        let old = self.seen.len().saturating_sub(20);
        self.seen.drain(..old);
        self.leases.drain(..self.leases.len().saturating_sub(4));
    }
}
