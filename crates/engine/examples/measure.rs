//! What a durable append costs here, beside what the disk alone costs.
//!
//! `cargo run --release -p polis-engine --example measure [FOLDER]` prints
//! appends per second of a plain file with one `fdatasync` each, of one writer,
//! and of 64 writers with a keyspace each; then memory and CPU when idle.

#![allow(clippy::disallowed_methods, reason = "a measurement needs real time")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{Batch, Embedded, EmbeddedConfig, Engine, Epoch, Outcome, Raised, ReplicaId, Seq};
use keyspace::{Change, Record};
use kv::{KeyspaceName, Revision};

/// A typical object of ours.
const VALUE_BYTES: usize = 512;
const RUN: Duration = Duration::from_secs(8);
const IDLE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("polis-engine-measure-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let raw = raw_syncs(&folder)?;
    println!("plain file, append + fdatasync: {raw:.0}/s");
    let engine = Arc::new(Embedded::open(EmbeddedConfig::new(folder.join("engine")))?);
    for writers in [1, 64] {
        let before = engine.metrics();
        let rate = appends(&engine, writers).await?;
        let after = engine.metrics();
        let per_sync =
            (after.batches - before.batches) as f64 / (after.syncs - before.syncs).max(1) as f64;
        println!(
            "engine, {writers} writers: {rate:.0}/s ({:.2} of the plain file), {per_sync:.1} \
             batches a sync",
            rate / raw
        );
    }
    println!("syncs by seconds: {}", slow_syncs(&engine.metrics()));
    let (memory_kib, cpu_before) = usage()?;
    tokio::time::sleep(IDLE).await;
    let (_, cpu_after) = usage()?;
    println!(
        "afterwards: {} MiB resident, {} ms of CPU in {} s idle",
        memory_kib / 1024,
        (cpu_after - cpu_before) * 10,
        IDLE.as_secs()
    );
    drop(engine);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Those that took longer than the disk needs, by upper bound.
fn slow_syncs(metrics: &engine::Metrics) -> String {
    let bounds = engine::SYNC_SECONDS_BOUNDS.iter().map(|bound| format!("≤{bound}"));
    let counts = bounds.chain(["more".to_owned()]).zip(metrics.sync_seconds);
    let some = counts.filter(|(_, count)| *count > 0);
    some.map(|(bound, count)| format!("{bound}: {count}")).collect::<Vec<_>>().join("  ")
}

fn raw_syncs(folder: &Path) -> std::io::Result<f64> {
    let mut file = std::fs::File::create(folder.join("plain"))?;
    file.set_len(64 * 1024 * 1024)?;
    let record = [7u8; VALUE_BYTES];
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < RUN {
        file.write_all(&record)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

async fn appends(
    engine: &Arc<Embedded>,
    writers: usize,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut tasks = Vec::new();
    let start = Instant::now();
    for writer in 0..writers {
        let keyspace = KeyspaceName::new(&format!("w{writers}-{writer}"))?;
        let Raised::Won(epoch) = engine.raise(&keyspace, Epoch(0), ReplicaId::default()).await?
        else {
            return Err("the keyspace is taken".into());
        };
        tasks.push(tokio::spawn(write(engine.clone(), keyspace, epoch, start)));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

async fn write(
    engine: Arc<Embedded>,
    keyspace: KeyspaceName,
    epoch: Epoch,
    start: Instant,
) -> Result<u64, engine::Error> {
    let mut count = 0;
    while start.elapsed() < RUN {
        count += 1;
        let revision = Revision(count + 1);
        let put = Change::Put {
            key: format!("key-{}", count % 1000).into(),
            value: vec![7; VALUE_BYTES].into(),
            create_revision: revision,
            version: 1,
            lease: None,
        };
        let records = vec![Record::Txn { revision, changes: vec![put] }];
        let outcome = engine.append(&keyspace, Batch { epoch, seq: Seq(count), records }).await?;
        assert_eq!(outcome, Outcome::Committed);
        if count % 2000 == 0 {
            let floor = Revision(revision.0 - 500);
            assert_eq!(engine.compact(&keyspace, epoch, floor).await?, Outcome::Committed);
        }
    }
    Ok(count)
}

/// Resident KiB, and CPU time in the kernel's ticks of 10 ms.
fn usage() -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let resident = resident.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("no name")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok((resident, ticks))
}
