//! What a payment costs over a real store, without TLS:
//! `cargo run -p polis-ledger --example payments -- http://127.0.0.1:2379`.
//!
//! Prints how long it takes to raise all fences and, for some numbers of
//! payments under way, the rate and latency; at the end it audits a shard.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ledger::{Config, Ledger, OnKv, Tls, Trust};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::Instant};

const USERS: usize = 1000;
const PAYMENTS: usize = 4000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Client(http1::SendRequest<Full<Bytes>>);

// === impl Client ===

impl Client {
    async fn connect(address: SocketAddr) -> Result<Client, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client(sender))
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        body: Value,
    ) -> Result<Value, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "ledger")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body.to_string())))?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(String::from_utf8_lossy(&body).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

fn user(n: usize) -> String {
    format!("3088{:04}{:02}{}", n / 100, n % 100, n % 10)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let store = std::env::args().nth(1).ok_or("usage: payments http://STORE")?;
    let client = kv_etcd::Client::connect(kv_etcd::Config::new(&store, None))?;
    let config = Config {
        unit: "rz01".parse()?,
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Tls::Plaintext,
        trust: Trust { plaintext: true, ..Trust::default() },
    };
    let open = |name: &str| -> Arc<dyn kv::Kv> {
        Arc::new(client.keyspace(name).expect("the ledger's keyspace names are valid"))
    };
    let ledger = Ledger::build(config, Arc::new(OnKv::new(open))).await?;
    let address = ledger.local_addr().ok_or("no address")?;
    let (_trigger, drain) = rt::drain::channel();
    tokio::spawn(ledger.run(drain));

    let mut client = Client::connect(address).await?;
    for (epoch, many) in [(1, 100), (2, 20), (3, 1)] {
        let wanted: Vec<Value> =
            (0..many).map(|n| json!({"shard": format!("{n:02}"), "epoch": epoch})).collect();
        let started = Instant::now();
        let body = json!({"unit": "rz01", "shards": wanted});
        let raised = client.ask("POST", "/internal/v1/fence", "", body).await?;
        let raised = raised["raised"].as_array().map_or(0, Vec::len);
        println!("raise of {raised} shards: {:?}", started.elapsed());
    }
    let started = Instant::now();
    for n in 0..USERS {
        let body = json!({"uid": user(n), "currency": "CNY", "opening_balance": 1_000_000_000});
        client.ask("POST", "/v1/accounts", "", body).await?;
    }
    println!("{USERS} accounts opened one by one: {:?}", started.elapsed());

    let run = format!("{:x}", rt::random::Random::from_entropy().next_u64());
    for under_way in [1, 8, 64] {
        let started = Instant::now();
        let tasks: Vec<_> = (0..under_way)
            .map(|task| tokio::spawn(pay(address, format!("{run}-{under_way}"), task, under_way)))
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await??);
        }
        let elapsed = started.elapsed();
        took.sort_unstable();
        let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1000];
        let rate = took.len() as f64 / elapsed.as_secs_f64();
        println!(
            "{under_way:3} under way: {rate:6.0} payments/s, p50 {:?}, p99 {:?}, max {:?}",
            at(500),
            at(990),
            at(1000),
        );
    }
    let started = Instant::now();
    let audit = client.ask("GET", "/v1/shards/42/audit", "", Value::Null).await?;
    println!("audit of a shard: {:?}: {audit}", started.elapsed());
    Ok(())
}

async fn pay(
    address: SocketAddr,
    run: String,
    task: usize,
    tasks: usize,
) -> Result<Vec<Duration>, Failure> {
    let mut client = Client::connect(address).await?;
    let mut took = Vec::new();
    for n in (task..PAYMENTS).step_by(tasks) {
        let body =
            json!({"payer": user(n % USERS), "merchant": "tea", "amount": 1, "currency": "CNY"});
        let started = Instant::now();
        client.ask("POST", "/v1/payments", &format!("{run}-{n}"), body).await?;
        took.push(started.elapsed());
    }
    Ok(took)
}
