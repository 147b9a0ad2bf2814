//! Damage in a stopped store is found and named.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{Batch, Embedded, EmbeddedConfig, Engine, Epoch, Outcome, Raised, ReplicaId, Seq};
use keyspace::{Change, Record};
use kv::{KeyspaceName, LeaseId, Revision};
use store::verify::{verify, verify_keyspace};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("polis-verify-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(revision: u64, key: &str, lease: Option<i64>) -> Record {
    let put = Change::Put {
        key: key.to_owned().into(),
        value: format!("the value of {key}").into(),
        create_revision: Revision(revision),
        version: 1,
        lease: lease.map(LeaseId),
    };
    Record::Txn { revision: Revision(revision), changes: vec![put] }
}

async fn append(engine: &dyn Engine, ks: &KeyspaceName, epoch: Epoch, seq: u64, record: Record) {
    let batch = Batch { epoch, seq: Seq(seq), records: vec![record] };
    assert_eq!(engine.append(ks, batch).await.expect("an answer"), Outcome::Committed);
}

/// Forty keys, the first twenty folded into the base.
async fn fill(folder: &Path) {
    let engine = Embedded::open(EmbeddedConfig::new(folder.join("log"))).expect("it opens");
    let ks = KeyspaceName::default();
    let raised = engine.raise(&ks, Epoch(0), ReplicaId::default()).await.expect("an answer");
    let Raised::Won(epoch) = raised else { panic!("nobody else is here") };
    let ttl = Duration::from_secs(60);
    append(&engine, &ks, epoch, 1, Record::LeaseGranted { id: LeaseId(7), ttl }).await;
    for n in 2..42 {
        append(&engine, &ks, epoch, n, put(n, &format!("key-{n:02}"), Some(7))).await;
    }
    append(&engine, &ks, epoch, 42, Record::Compact { revision: Revision(21) }).await;
    let folded = engine.compact(&ks, epoch, Revision(21)).await.expect("an answer");
    assert_eq!(folded, Outcome::Committed);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_sound_store_has_no_findings_and_is_counted() {
    let folder = Folder::new("sound");
    fill(&folder.0).await;
    let verified = verify(&folder.0).await.expect("it can be read");
    assert_eq!(verified.len(), 1);
    let found = &verified[0];
    assert_eq!(found.findings, Vec::<String>::new());
    assert_eq!((found.keys, found.leases, found.seq), (40, 1, 42));
    assert_eq!((found.revision, found.compacted), (Revision(41), Revision(21)));
    // Looking changes nothing.
    assert_eq!(verify(&folder.0).await.expect("it can be read"), verified);
}

#[tokio::test]
async fn a_flipped_byte_of_a_value_is_found_and_named() {
    let folder = Folder::new("flipped");
    fill(&folder.0).await;
    let mut found = 0;
    for path in files(&folder.0) {
        let good = fs::read(&path).expect("readable");
        let needle = b"the value of key-";
        let places = good.windows(needle.len()).enumerate();
        let places: Vec<_> =
            places.filter(|(_, window)| window == needle).map(|(at, _)| at).step_by(19).collect();
        for at in places {
            let mut hurt = good.clone();
            hurt[at] ^= 1;
            fs::write(&path, &hurt).expect("written");
            let told = match verify(&folder.0).await {
                // The log's own frame: nothing after it can be believed.
                Err(error) => vec![error.to_string()],
                Ok(verified) => verified.into_iter().flat_map(|found| found.findings).collect(),
            };
            // A store writes nothing when it is looked at, but may have folded
            // the log before: then the hurt copy is not in use any more.
            if !told.is_empty() {
                found += 1;
                let text = told.join("; ");
                assert!(text.contains("PLS"), "{text}");
            }
            let _ = fs::remove_dir_all(folder.0.join("log"));
            fill(&folder.0).await;
        }
    }
    assert!(found > 0, "no damage was found");
}

#[tokio::test]
async fn a_hole_and_a_lease_that_is_not_there_are_named() {
    let engine = engine::Memory::new();
    let ks = KeyspaceName::default();
    let raised = engine.raise(&ks, Epoch(0), ReplicaId::default()).await.expect("an answer");
    let Raised::Won(epoch) = raised else { panic!("nobody else is here") };
    append(&engine, &ks, epoch, 1, put(2, "a", Some(9))).await;
    let found = verify_keyspace(&engine, &ks).await;
    assert_eq!(found.findings, ["key \"a\": its lease 0000000000000009 does not exist"]);
    append(&engine, &ks, epoch, 2, put(4, "b", None)).await;
    let found = verify_keyspace(&engine, &ks).await;
    assert_eq!(found.findings, ["the log goes from revision 2 to 4"]);
}
