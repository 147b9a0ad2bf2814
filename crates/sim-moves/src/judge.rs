//! In the end: what people were told against what is in the books.
//!
//! The books are read through a ledger's own face, once all is calm; what is
//! added up here is added up again by hand.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use ledger::{Peer, Service};
use serde_json::Value;
use topology::{STAMP_HEADER, Shard, Stamp, UserId};

use crate::{
    layout::{self, Process},
    ledgers,
    net::Net,
    payer::{Told, Verdict},
    played::whole,
    witness::Witness,
};

/// What the books hold of a payment.
#[derive(Debug)]
struct Found {
    committed: bool,
    amount: u64,
    payer: String,
}

/// Reads every shard's books, and says what is wrong.
pub async fn judge(net: Net, witness: Witness, told: Told) -> Vec<String> {
    let mut violations: Vec<String> = told.contradictions.clone();
    let mut found = BTreeMap::<String, Found>::new();
    let mut spent = BTreeMap::<String, u64>::new();
    let split = witness.seen().map.layout;
    for shard in layout::shards(&split) {
        let Some(fence) = witness.holder(shard) else {
            violations.push(format!("books: nobody holds {shard}"));
            continue;
        };
        let Some(extent) = split.extent(shard) else { continue };
        let stamp = Stamp { extent, unit: fence.unit.clone(), epoch: fence.epoch, hop: 1 };
        let books = ledgers::service(&net, Process::People, fence.unit, &witness, None);
        let service = &Asked { books, stamp: stamp.to_string() };
        match export(service, shard).await {
            Ok(lines) => {
                for line in lines {
                    note(&line, &mut found, &mut spent, &mut violations);
                }
            }
            Err(error) => violations.push(format!("books: {shard}: {error}")),
        }
        let path = format!("/v1/shards/{shard}/audit");
        match get(service, &path).await {
            Ok(body) => {
                let audit: Value = serde_json::from_slice(&body).unwrap_or_default();
                if audit["violation_count"] != 0 {
                    violations.push(format!("audit: {shard}: {}", audit["violations"]));
                }
            }
            Err(error) => violations.push(format!("audit: {shard}: {error}")),
        }
        for (user, opening) in
            told.accounts.iter().filter(|(u, _)| split.shard_of(u.bucket()) == shard)
        {
            violations.extend(balance(service, user, *opening, &spent).await);
        }
    }
    violations.extend(compare(&told, &found));
    violations
}

fn compare(told: &Told, found: &BTreeMap<String, Found>) -> Vec<String> {
    let mut violations = Vec::new();
    for (id, wanted) in &told.payments {
        let there = found.get(id);
        let what = match (wanted.verdict, there) {
            (Some((_, Verdict::Committed)), None) => "lost: it was acknowledged and is not there",
            (Some((_, Verdict::Committed)), Some(found)) if !found.committed => {
                "lost: it was acknowledged and is cancelled"
            }
            (Some((_, Verdict::Cancelled)), Some(found)) if found.committed => {
                "doubled: it was said to be cancelled and is there"
            }
            (_, Some(found)) if found.committed && found.amount != wanted.amount => {
                "changed: it is there with another amount"
            }
            (_, Some(found)) if found.committed && found.payer != wanted.user.as_str() => {
                "changed: it is there with another payer"
            }
            _ => continue,
        };
        violations.push(format!("{id}: {what}: {wanted:?}, {there:?}"));
    }
    let asked: BTreeSet<_> = told.payments.keys().collect();
    let strange = found.keys().filter(|id| !asked.contains(id));
    violations.extend(strange.map(|id| format!("{id}: nobody asked for it")));
    violations
}

fn note(
    line: &Value,
    found: &mut BTreeMap<String, Found>,
    spent: &mut BTreeMap<String, u64>,
    violations: &mut Vec<String>,
) {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let (id, payer) = (text("id"), text("payer"));
    let committed = line["status"] == "Committed";
    let amount = line["amount"].as_u64().unwrap_or(0);
    if committed {
        *spent.entry(payer.clone()).or_default() += amount;
    }
    if found.insert(id.clone(), Found { committed, amount, payer }).is_some() {
        violations.push(format!("{id}: doubled: it is there twice"));
    }
}

/// A ledger, asked about one shard.
struct Asked {
    books: Service,
    /// Which buckets are meant.
    stamp: String,
}

async fn balance(
    service: &Asked,
    user: &UserId,
    opening: u64,
    spent: &BTreeMap<String, u64>,
) -> Option<String> {
    let expected = opening - spent.get(user.as_str()).copied().unwrap_or(0);
    let body = match get(service, &format!("/v1/accounts/{user}")).await {
        Ok(body) => body,
        Err(error) => return Some(format!("sums: {user}: {error}")),
    };
    let account: Value = serde_json::from_slice(&body).unwrap_or_default();
    let holds = account["balance"].as_u64();
    (holds != Some(expected)).then(|| format!("sums: {user} holds {holds:?}, not {expected}"))
}

async fn export(service: &Asked, shard: Shard) -> Result<Vec<Value>, String> {
    let body = get(service, &format!("/v1/shards/{shard}/payments")).await?;
    let parse = |line: &[u8]| serde_json::from_slice::<Value>(line).map_err(|e| e.to_string());
    let mut lines = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    match lines.pop() {
        Some(last) if last["end"] == true => Ok(lines),
        _ => Err("the export is not whole".into()),
    }
}

async fn get(service: &Asked, path: &str) -> Result<Bytes, String> {
    let request = Request::get(path).header(STAMP_HEADER, &service.stamp);
    let request = request.body(Full::<Bytes>::default()).expect("a path");
    let (status, _, body) = whole(service.books.handle(request, &Peer::Plaintext).await).await;
    match status.is_success() {
        true => Ok(body),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
    }
}
