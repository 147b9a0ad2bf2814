//! What a million keys cost in memory, and how fast they are put.
//!
//! `cargo run --release -p polis-keyspace --example memory`

#![allow(clippy::disallowed_methods, reason = "a measurement needs real time")]

use std::time::Instant;

use keyspace::{Config, Keyspace, Values};
use kv::{KeyRange, Op, RangeRequest, Txn};

const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_kib()?;
    let mut keyspace = Keyspace::new(Config::default());
    let none = Values::default();
    let start = Instant::now();
    for i in 0..KEYS {
        let key = format!("/registry/pods/default/pod-{i:08}");
        let txn = Txn::default().then(vec![Op::put(key, vec![7; VALUE_BYTES])]);
        let _durable_elsewhere = keyspace.apply(&txn, &none)?;
    }
    let rate = KEYS as f64 / start.elapsed().as_secs_f64();
    let visible = keyspace.revision();
    let with_history = resident_kib()?;
    let _durable_elsewhere = keyspace.compact(visible, visible)?;
    let compacted = resident_kib()?;
    let start = Instant::now();
    let page = RangeRequest::new(KeyRange::prefix("/registry/pods/")).limit(500);
    let count = keyspace.range(&page, visible, &none)?.count;
    let page_ms = start.elapsed().as_millis();
    let each = |kib: u64| (kib - before) * 1024 / KEYS as u64;
    println!("{KEYS} keys of 35 bytes with values of {VALUE_BYTES} bytes:");
    println!("{rate:.0} puts/s, {page_ms} ms for a page of 500 that counts {count}");
    println!(
        "{} bytes a key with history, {} after compaction",
        each(with_history),
        each(compacted)
    );
    Ok(())
}

fn resident_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(resident.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
