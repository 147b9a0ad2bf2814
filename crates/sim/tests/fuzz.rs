//! The fuzz targets on stable Rust: over the corpus, over random bytes, and over
//! the corpus with random bytes changed.

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::{fs, io::Cursor, path::Path};

use pb_etcd::{authpb, mvccpb};
use prost::Message as _;
use rt::random::Random;

const ROUNDS: u64 = 20_000;
const BYTES_MAX: u64 = 96;

#[test]
fn no_bytes_are_too_much() {
    for (name, target) in targets::ALL {
        let mut corpus = corpus(name);
        match name {
            "bbolt" => corpus.push(bbolt_file()),
            "snapshot" => corpus.push(etcd_file()),
            _ => {}
        }
        corpus.iter().for_each(|seed| target(seed));
        let mut random = Random::seeded(1);
        for _ in 0..ROUNDS {
            target(&bytes(&corpus, &mut random));
        }
    }
}

/// Every file of a target's corpus, if it has one; what libFuzzer finds is added
/// there.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).into_iter().flatten();
    let mut paths: Vec<_> = files.map(|file| file.expect("it is listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it is readable")).collect()
}

fn bbolt_file() -> Vec<u8> {
    let mut writer = bbolt::Writer::new(Cursor::new(Vec::new())).expect("memory takes it");
    for name in ["key", "meta"] {
        let mut bucket = writer.bucket(name.as_bytes()).expect("names rise");
        for n in 0..40u8 {
            bucket.put(&[n], &[n; 100]).expect("keys rise");
        }
        bucket.finish().expect("a bucket");
    }
    writer.finish().expect("a file").into_inner()
}

/// With one of everything that an etcd keeps.
fn etcd_file() -> Vec<u8> {
    let kv = mvccpb::KeyValue { key: "k".into(), value: "v".into(), ..Default::default() };
    let user =
        authpb::User { name: "root".into(), roles: vec!["root".into()], ..Default::default() };
    let role = authpb::Role { name: "root".into(), ..Default::default() };
    let revision = |main: u64| [&main.to_be_bytes()[..], b"_", &0u64.to_be_bytes()].concat();
    let mut writer = bbolt::Writer::new(Cursor::new(Vec::new())).expect("memory takes it");
    let mut bucket = |name: &str, entries: &[(Vec<u8>, Vec<u8>)]| {
        let mut bucket = writer.bucket(name.as_bytes()).expect("names rise");
        for (key, value) in entries {
            bucket.put(key, value).expect("keys rise");
        }
        bucket.finish().expect("a bucket");
    };
    let enabled = (b"authEnabled".to_vec(), vec![1]);
    bucket("auth", &[enabled, (b"authRevision".to_vec(), 3u64.to_be_bytes().to_vec())]);
    bucket("authRoles", &[(b"root".to_vec(), role.encode_to_vec())]);
    bucket("authUsers", &[(b"root".to_vec(), user.encode_to_vec())]);
    let entries = (2..9).map(|main| (revision(main), kv.encode_to_vec()));
    bucket("key", &entries.collect::<Vec<_>>());
    bucket("lease", &[(7u64.to_be_bytes().to_vec(), vec![0x08, 7, 0x10, 60])]);
    bucket("meta", &[(b"finishedCompactRev".to_vec(), revision(2))]);
    writer.finish().expect("a file").into_inner()
}

fn bytes(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let which = random.below(2 * corpus.len() as u64 + 1) as usize;
    let Some(seed) = corpus.get(which) else {
        let length = random.below(BYTES_MAX);
        return (0..length).map(|_| random.next_u64() as u8).collect();
    };
    let mut bytes = seed.clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(3) {
            0 => bytes[at] = random.next_u64() as u8,
            1 => bytes.truncate(at.max(1)),
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}
