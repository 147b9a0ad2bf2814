//! A folder that grew gives its space back: deletes, compaction, and the real
//! `etcdctl defrag`.

use std::{net::SocketAddr, path::Path, time::Duration};

use e2e::{Running, Scratch, wait_for};
use kv::{DeleteRequest, KeyRange, Kv as _, Op, PutRequest, RangeRequest, Txn};
use kv_etcd::{Client, Config};
use rt::random::Random;
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

const TXNS: u64 = 200;
const VALUES_EACH: u64 = 10;
const VALUE_BYTES: usize = 100_000;

/// What the disk holds for the files of a folder.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    const BLOCK_BYTES: u64 = 512;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
            // A file may go while it is looked at.
            _ => entry.metadata().map_or(0, |data| data.blocks() * BLOCK_BYTES),
        })
        .sum()
}

/// Nothing in it can be packed tighter.
fn value(random: &mut Random) -> Vec<u8> {
    (0..VALUE_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect()
}

#[tokio::test]
async fn a_folder_shrinks_after_deletes_compaction_and_defrag() {
    let scratch = Scratch::new("store-reclaim");
    let data = scratch.join("data");
    let address = SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()));
    let (folder, url) = (data.display().to_string(), format!("http://{address}"));
    let args = ["store", "--insecure", "--data-dir", &folder, "--listen-client-urls", &url];
    let mut process = Running::start(&args);
    process.wait_for_line("store serves", LIMIT);
    let mut config = Config::new(&url, None);
    config.request_timeout = LIMIT;
    let keyspace = Client::connect(config).expect("a URL").keyspace("default").expect("a name");
    let mut random = Random::seeded(1);
    for txn in 0..TXNS {
        let puts = (0..VALUES_EACH)
            .map(|n| Op::Put(PutRequest::new(format!("big/{txn}/{n}"), value(&mut random))));
        let txn = Txn { success: puts.collect(), ..Txn::default() };
        keyspace.txn(txn).await.expect("it is written");
    }
    keyspace.put(PutRequest::new("small", "stays")).await.expect("it is written");
    let full = disk_bytes(&data);
    assert!(full > TXNS * VALUES_EACH * VALUE_BYTES as u64, "{full}");

    let all = DeleteRequest { range: KeyRange::prefix("big/"), prev_kv: false };
    let (revision, deleted) = keyspace.delete(all).await.expect("it is deleted");
    assert_eq!(deleted.deleted as u64, TXNS * VALUES_EACH);
    keyspace.compact(revision).await.expect("it is compacted");
    let endpoint = format!("--endpoints={url}");
    // The compaction is folded in the background: until then there is nothing
    // to give back.
    let left = wait_for("the folder to shrink", LIMIT, || {
        let defrag = e2e::etcdctl(&[&endpoint, "--command-timeout=120s", "defrag"]);
        assert!(defrag.status.success(), "{}", String::from_utf8_lossy(&defrag.stderr));
        Some(disk_bytes(&data)).filter(|left| *left < full / 4)
    });
    println!("{} MiB, then {} MiB", full >> 20, left >> 20);
    let request = RangeRequest::new(KeyRange::prefix(""));
    let found = keyspace.range(request).await.expect("it is read").kvs;
    assert_eq!(found.iter().map(|kv| &kv.key[..]).collect::<Vec<_>>(), [b"small"]);
    process.signal(Signal::TERM);
    assert!(process.wait(LIMIT).success(), "{}", process.printed());
}
