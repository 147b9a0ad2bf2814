//! An estate of several edges over one book, each edge as unreliable as told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::EdgeUrl;

/// What an edge does with the next payment.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Answer,
    /// Makes the payment, and the connection breaks.
    PayAndBreak,
    /// The connection breaks, and nothing was made.
    Break,
    /// Answers this and makes nothing.
    Status(u16),
}

#[derive(Clone, Default)]
pub struct Estate(Arc<Mutex<Books>>);

#[derive(Default)]
pub struct Books {
    pub accounts: BTreeMap<String, Value>,
    /// By id: what was made of it.
    pub payments: BTreeMap<String, Value>,
    /// Every payment request that arrived: edge and id.
    pub arrived: Vec<(usize, String)>,
    pub violations: Vec<Value>,
    /// No payment is resolved.
    pub speechless: bool,
    /// So many exports break off before their end.
    pub exports_broken: u64,
    fates: BTreeMap<usize, VecDeque<Fate>>,
}

enum Body {
    Json(Value),
    Lines(String),
}

// === impl Estate ===

impl Estate {
    /// Starts `count` edges; they end with the test's runtime.
    pub async fn start(count: usize) -> (Estate, Vec<EdgeUrl>) {
        let estate = Estate::default();
        let mut urls = Vec::new();
        for edge in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let address = listener.local_addr().expect("an address");
            urls.push(format!("http://{address}").parse().expect("a URL"));
            let estate = estate.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let estate = estate.clone();
                    let answer = service_fn(move |request| estate.clone().answer(edge, request));
                    // An error from the service breaks the connection.
                    tokio::spawn(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                    );
                }
            });
        }
        (estate, urls)
    }

    /// What `edge` does with its next payments; afterwards it answers.
    pub fn next(&self, edge: usize, fates: impl IntoIterator<Item = Fate>) {
        self.books(|books| books.fates.insert(edge, fates.into_iter().collect()));
    }

    pub fn books<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.0.lock().expect("no panic"))
    }

    async fn answer(
        self,
        edge: usize,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "the body broke off")?.to_bytes();
        let key =
            head.headers.get("idempotency-key").map(|key| key.to_str().expect("text").to_owned());
        let (status, body) =
            self.books(|books| books.answer(edge, &head.method, head.uri.path(), key, &body))?;
        let body = Full::new(Bytes::from(match body {
            Body::Json(value) => value.to_string(),
            Body::Lines(lines) => lines,
        }));
        Ok(Response::builder().status(status).body(body).expect("a response"))
    }
}

/// The buckets of the shard in `/v1/shards/NN/…`.
fn hundred(path: &str) -> String {
    let shard = path.split('/').nth(3).expect("a shard");
    format!("{shard}00-{shard}99")
}

// === impl Books ===

impl Books {
    fn answer(
        &mut self,
        edge: usize,
        method: &Method,
        path: &str,
        key: Option<String>,
        body: &[u8],
    ) -> Result<(u16, Body), &'static str> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let rest = path.strip_prefix("/v1/payments").unwrap_or_default();
        let (status, value) = match (method, path) {
            (&Method::POST, "/v1/accounts") => {
                let uid = body["uid"].as_str().expect("a user").to_owned();
                self.accounts.insert(uid, body);
                (201, json!({}))
            }
            (&Method::POST, "/v1/payments") => {
                let id =
                    format!("{}.{}", body["payer"].as_str().expect("a payer"), key.expect("a key"));
                self.arrived.push((edge, id.clone()));
                match self.fates.entry(edge).or_default().pop_front().unwrap_or(Fate::Answer) {
                    Fate::Answer => self.pay(id, &body),
                    Fate::PayAndBreak => {
                        self.pay(id, &body);
                        return Err("broken on purpose");
                    }
                    Fate::Break => return Err("broken on purpose"),
                    Fate::Status(status) => (status, json!({"error": {"code": "PLS0999"}})),
                }
            }
            (&Method::POST, _) if self.speechless => (503, json!({"error": {"code": "PLS0999"}})),
            (&Method::POST, _) => {
                let id = rest.trim_start_matches('/').trim_end_matches(":resolve").to_owned();
                let cancelled = json!({"status": "Cancelled"});
                (200, self.payments.entry(id).or_insert(cancelled).clone())
            }
            (_, path) if path.ends_with("/audit") => {
                // One shard tells of all violations.
                let violations =
                    if path == "/v1/shards/00/audit" { &self.violations[..] } else { &[] };
                let (violation_count, buckets) = (violations.len(), hundred(path));
                (
                    200,
                    json!({
                        "buckets": buckets,
                        "violation_count": violation_count,
                        "violations": violations,
                    }),
                )
            }
            (_, path) if path.ends_with("/payments") => {
                // Which shard a payment is of shows in its id, as in the users' numbers.
                let shard = path.split('/').nth(3).expect("a shard");
                let of_shard = |id: &str| {
                    id.split_once('.').is_some_and(|(uid, _)| {
                        uid.get(uid.len() - 3..uid.len() - 1) == Some(shard)
                    })
                };
                let mut lines = String::new();
                for (id, made) in self.payments.iter().filter(|(id, _)| of_shard(id)) {
                    let mut line = made.clone();
                    line["id"] = json!(id);
                    lines += &format!("{line}\n");
                }
                if self.exports_broken == 0 {
                    lines += &format!("{}\n", json!({"end": true, "buckets": hundred(path)}));
                } else {
                    self.exports_broken -= 1;
                }
                return Ok((200, Body::Lines(lines)));
            }
            _ => match self.payments.get(rest.trim_start_matches('/')) {
                Some(payment) => (200, payment.clone()),
                None => (404, json!({"error": {"code": "PLS0508"}})),
            },
        };
        Ok((status, Body::Json(value)))
    }

    fn pay(&mut self, id: String, body: &Value) -> (u16, Value) {
        if let Some(made) = self.payments.get(&id) {
            let status = if made["status"] == "Committed" { 200 } else { 409 };
            return (status, made.clone());
        }
        let made = json!({
            "id": id, "status": "Committed", "amount": body["amount"], "unit": "rz01", "epoch": 1,
        });
        self.payments.insert(id, made.clone());
        (201, made)
    }
}
