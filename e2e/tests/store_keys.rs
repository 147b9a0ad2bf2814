//! A store of very many keys, through etcd's API: loaded, started again, read,
//! watched, compacted, saved and verified, with what each takes. `cargo xtask
//! soak keys --count N` is the long form.

use std::{
    fmt::Display,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use e2e::{Running, Scratch, free_base_port};
use futures::StreamExt as _;
use kv::{KeyRange, Kv as _, Op, PutRequest, RangeRequest, Revision, Txn, WatchItem, WatchRequest};
use kv_etcd::{Client, Config, Keyspace};
use pb_etcd::etcdserverpb::{
    DefragmentRequest, SnapshotRequest, maintenance_client::MaintenanceClient,
};
use rt::random::Random;
use rustix::process::Signal;

const KEYS: u64 = 20_000;
const VALUE_BYTES: usize = 256;

/// As many as a transaction may hold.
const KEYS_AT_ONCE: u64 = 128;
const WRITERS: u64 = 8;

/// Values in memory; the rest is read from disk.
const MEMORY_BUDGET: &str = "134217728";
const QUOTA: &str = "20000000000";

/// For one step, however many keys there are.
const LIMIT: Duration = Duration::from_secs(1800);

struct Store {
    url: String,
    process: Running,
    runtime: tokio::runtime::Runtime,
}

// === impl Store ===

impl Store {
    fn start(data: &Path) -> Store {
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let (folder, url) = (data.display().to_string(), format!("http://{address}"));
        let mut process = Running::start(&[
            "store",
            "--insecure",
            &format!("--data-dir={folder}"),
            &format!("--listen-client-urls={url}"),
            &format!("--memory-budget={MEMORY_BUDGET}"),
            &format!("--quota-backend-bytes={QUOTA}"),
        ]);
        process.wait_for_line("store serves", LIMIT);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("start a runtime");
        Store { url, process, runtime }
    }

    fn stop(mut self) {
        self.process.signal(Signal::TERM);
        assert!(self.process.wait(LIMIT).success(), "{}", self.process.printed());
    }

    fn keyspace(&self) -> Keyspace {
        let _entered = self.runtime.enter();
        let mut config = Config::new(&self.url, None);
        config.request_timeout = LIMIT;
        Client::connect(config).expect("a URL").keyspace("default").expect("a name")
    }

    /// Resident now and at most, in bytes.
    fn memory(&self) -> (u64, u64) {
        memory(self.process.pid())
    }

    fn maintenance(&self) -> MaintenanceClient<tonic::transport::Channel> {
        let _entered = self.runtime.enter();
        let endpoint = tonic::transport::Endpoint::from_shared(self.url.clone()).expect("a URL");
        MaintenanceClient::new(endpoint.connect_lazy())
    }
}

fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
}

/// Seconds of processor time since its start: what it takes whoever else uses
/// the machine.
fn cpu_seconds(pid: u32) -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything: utime and stime are the 14th and
    // 15th of all.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_A_SECOND
}

/// As Kubernetes names them; neighbours in time are not neighbours in order.
fn key(n: u64) -> String {
    format!("/registry/pods/namespace-{:03}/pod-{n:08}", n % 1000)
}

/// Nothing in it can be packed tighter.
fn value(n: u64) -> Vec<u8> {
    let mut random = Random::seeded(n);
    (0..VALUE_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect()
}

async fn load(keyspace: Keyspace, keys: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (next, keyspace) = (next.clone(), keyspace.clone());
            tokio::spawn(async move {
                loop {
                    let from = next.fetch_add(KEYS_AT_ONCE, Relaxed);
                    if from >= keys {
                        return;
                    }
                    let puts = (from..keys.min(from + KEYS_AT_ONCE))
                        .map(|n| Op::Put(PutRequest::new(key(n), value(n))));
                    let txn = Txn { success: puts.collect(), ..Txn::default() };
                    keyspace.txn(txn).await.expect("it is written");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
}

fn everything() -> KeyRange {
    KeyRange::prefix("/registry/")
}

async fn count(keyspace: &Keyspace) -> (usize, Revision) {
    let request = RangeRequest { count_only: true, ..RangeRequest::new(everything()) };
    let response = keyspace.range(request).await.expect("it is counted");
    (response.count, response.revision)
}

/// Single keys, spread over all of them.
async fn read_some(keyspace: &Keyspace, keys: u64) {
    let mut random = Random::seeded(7);
    for _ in 0..1000 {
        let n = random.next_u64() % keys;
        let request = RangeRequest::new(KeyRange::Key(key(n).into()));
        let found = keyspace.range(request).await.expect("it is read").kvs;
        assert_eq!(found.first().map(|kv| &kv.value[..]), Some(&value(n)[..]), "{}", key(n));
    }
}

/// One namespace in pages, as a Kubernetes API server lists.
async fn list_one(keyspace: &Keyspace) -> usize {
    let prefix = KeyRange::prefix("/registry/pods/namespace-007/");
    let KeyRange::Span { mut from, to } = prefix else { panic!("a prefix is a span") };
    let mut listed = 0;
    loop {
        let range = KeyRange::Span { from, to: to.clone() };
        let request = RangeRequest { limit: Some(500), ..RangeRequest::new(range) };
        let page = keyspace.range(request).await.expect("it is listed");
        listed += page.kvs.len();
        let Some(last) = page.kvs.last().filter(|_| page.more) else { return listed };
        from = [&last.key[..], &[0]].concat().into();
    }
}

async fn watch_one(keyspace: &Keyspace) {
    let mut watch = keyspace.watch(WatchRequest::new(everything())).await.expect("a watch begins");
    while !matches!(watch.next().await, Some(Ok(WatchItem::Created { .. }))) {}
    let put = PutRequest::new(key(0), value(0));
    let (revision, _) = keyspace.put(put).await.expect("it is written");
    loop {
        let item = watch.next().await.expect("the watch goes on").expect("and is well");
        if let WatchItem::Events(batch) = item {
            assert_eq!(batch.revision, revision);
            return;
        }
    }
}

/// Bytes of the stream; they are not kept.
async fn save(mut maintenance: MaintenanceClient<tonic::transport::Channel>) -> u64 {
    let stream = maintenance.snapshot(SnapshotRequest {}).await.expect("a snapshot begins");
    let mut stream = stream.into_inner();
    let mut bytes = 0;
    while let Some(piece) = stream.message().await.expect("it goes on") {
        bytes += piece.blob.len() as u64;
    }
    bytes
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
            // A file may go while it is looked at.
            _ => entry.metadata().map_or(0, |data| data.len()),
        })
        .sum()
}

/// Steps with what they took, one line each.
struct Report {
    keys: u64,
}

impl Report {
    fn step<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        #[expect(clippy::disallowed_methods, reason = "measures; decides nothing")]
        let began = Instant::now();
        let done = work();
        let seconds = began.elapsed().as_secs_f64();
        let rate = self.keys as f64 / seconds;
        println!("{name:<28} {seconds:>9.2} s {rate:>12.0} keys/s");
        done
    }

    fn tell(&self, name: &str, what: impl Display) {
        println!("{name:<28} {what}");
    }

    fn memory(&self, store: &Store) {
        let (now, most) = store.memory();
        let (each, cpu) = (now / self.keys, cpu_seconds(store.process.pid()));
        self.tell(
            "  process",
            format_args!(
                "{} MiB, at most {} MiB; {each} bytes a key; {cpu:.1} s of processor",
                now >> 20,
                most >> 20
            ),
        );
    }

    fn disk(&self, data: &Path) {
        self.tell("  on disk", format_args!("{} MiB", disk_bytes(data) >> 20));
    }
}

#[test]
fn a_store_of_many_keys_is_loaded_read_compacted_saved_and_verified() {
    let asked = std::env::var("POLIS_SOAK_KEYS").ok().filter(|text| !text.is_empty());
    let keys = asked.map_or(KEYS, |text| text.parse().expect("POLIS_SOAK_KEYS is a number"));
    let report = Report { keys };
    let scratch = Scratch::new("store-keys");
    let data = scratch.join("data");

    let store = Store::start(&data);
    let keyspace = store.keyspace();
    report.step("load", || store.runtime.block_on(load(keyspace.clone(), keys)));
    report.memory(&store);
    report.disk(&data);
    let (counted, revision) = report.step("count", || store.runtime.block_on(count(&keyspace)));
    assert_eq!(counted as u64, keys);
    store.stop();

    let store = report.step("start", || {
        let store = Store::start(&data);
        let counted = store.runtime.block_on(count(&store.keyspace()));
        assert_eq!(counted, (keys as usize, revision));
        store
    });
    report.memory(&store);
    let keyspace = store.keyspace();
    report.step("1,000 single reads", || store.runtime.block_on(read_some(&keyspace, keys)));
    let listed = report.step("list a namespace", || store.runtime.block_on(list_one(&keyspace)));
    assert_eq!(listed as u64, keys / 1000);
    report.step("watch a put", || store.runtime.block_on(watch_one(&keyspace)));
    let bytes = report.step("snapshot", || store.runtime.block_on(save(store.maintenance())));
    report.tell("  snapshot", format_args!("{} MiB", bytes >> 20));
    report.memory(&store);
    let cpu = cpu_seconds(store.process.pid());
    report.step("compact", || {
        let (_, revision) = store.runtime.block_on(count(&keyspace));
        store.runtime.block_on(keyspace.compact(revision)).expect("it is compacted");
    });
    let spent = cpu_seconds(store.process.pid()) - cpu;
    report.tell("  compact", format_args!("{spent:.1} s of processor"));
    report.step("defragment", || {
        let request = DefragmentRequest {};
        store
            .runtime
            .block_on(store.maintenance().defragment(request))
            .expect("it is defragmented");
    });
    report.memory(&store);
    report.disk(&data);
    report.step("start again", || {
        store.stop();
        let store = Store::start(&data);
        let (counted, _) = store.runtime.block_on(count(&store.keyspace()));
        assert_eq!(counted as u64, keys);
        report.memory(&store);
        store.stop();
    });
    report.step("verify", || {
        let folder = data.display().to_string();
        let mut verify = Running::start(&["store", "verify", "--data-dir", &folder, "-o", "json"]);
        let mut most = 0;
        let status = e2e::wait_for("verify", LIMIT, || {
            most = most.max(memory(verify.pid()).1);
            verify.ended()
        });
        assert!(status.success(), "{}", verify.printed());
        assert!(verify.printed().contains(&format!("\"keys\":{keys}")), "{}", verify.printed());
        report.tell("  verify, at most", format_args!("{} MiB", most >> 20));
    });
}
