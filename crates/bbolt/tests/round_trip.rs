//! What is written is read again, and whatever is damaged is refused by name.

use std::{collections::BTreeMap, io::Cursor};

use bbolt::{Bolt, Error, Writer};
use proptest::prelude::*;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(buckets: &BTreeMap<Vec<u8>, Entries>) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("a writer");
    for (name, entries) in buckets {
        let mut bucket = writer.bucket(name).expect("names rise");
        for (key, value) in entries {
            bucket.put(key, value).expect("keys rise");
        }
        bucket.finish().expect("a bucket");
    }
    writer.finish().expect("a file").into_inner()
}

/// All that can be read; stops at the first error.
fn read(file: &[u8]) -> Result<BTreeMap<Vec<u8>, Entries>, Error> {
    let bolt = Bolt::open(file)?;
    let mut all = BTreeMap::new();
    for item in &bolt.root() {
        let item = item?;
        let Some(bucket) = bolt.bucket(&item.key)? else { continue };
        let mut entries = Entries::new();
        for item in &bucket {
            let item = item?;
            entries.insert(item.key.to_vec(), item.value.to_vec());
        }
        all.insert(item.key.to_vec(), entries);
    }
    Ok(all)
}

fn entries() -> impl Strategy<Value = Entries> {
    let key = prop::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (0usize..20_000).prop_map(|length| vec![7; length]),
    ];
    prop::collection::btree_map(key, value, 0..400)
}

fn buckets() -> impl Strategy<Value = BTreeMap<Vec<u8>, Entries>> {
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..12), entries(), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_again(buckets in buckets()) {
        let file = write(&buckets);
        prop_assert_eq!(read(&file).expect("a whole file"), buckets.clone());
        let bolt = Bolt::open(&file[..]).expect("a whole file");
        for (name, entries) in &buckets {
            let bucket = bolt.bucket(name).expect("readable").expect("it is there");
            for (key, value) in entries.iter().take(20) {
                let found = bucket.get(key).expect("readable");
                prop_assert_eq!(found.as_deref(), Some(&value[..]));
            }
            prop_assert!(bucket.get(&[0; 41]).expect("readable").is_none());
        }
    }

    #[test]
    fn damage_never_panics_and_never_goes_on_for_ever(
        buckets in buckets(),
        hurts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut file = write(&buckets);
        for (at, byte) in hurts {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file);
        file.truncate(keep.index(file.len()));
        prop_assert!(read(&file).is_err(), "a file that was cut off");
    }

    #[test]
    fn any_bytes_behind_a_good_meta_are_taken(noise in prop::collection::vec(any::<u8>(), 0..4096)) {
        let entries = (0u32..500).map(|n| (n.to_be_bytes().to_vec(), vec![1; 20])).collect();
        let mut file = write(&BTreeMap::from([(b"b".to_vec(), entries)]));
        for page in file.chunks_mut(4096).skip(3) {
            page[16..16 + noise.len().min(4080)].copy_from_slice(&noise[..noise.len().min(4080)]);
        }
        let _ = read(&file);
    }
}

#[test]
fn a_deep_tree_is_walked_in_order() {
    // Long keys make narrow branches: four levels here.
    let entries: Entries = (0u32..3000)
        .map(|n| ([&n.to_be_bytes()[..], &[9; 900]].concat(), n.to_le_bytes().to_vec()))
        .collect();
    let buckets = BTreeMap::from([(b"deep".to_vec(), entries)]);
    assert_eq!(read(&write(&buckets)).expect("a whole file"), buckets);
}

#[test]
fn the_older_meta_serves_when_the_newer_one_is_hurt() {
    let buckets = BTreeMap::from([(b"b".to_vec(), Entries::from([(vec![1], vec![2])]))]);
    for meta in [0, 1] {
        let mut file = write(&buckets);
        file[meta * 4096 + 30] ^= 1;
        assert_eq!(read(&file).expect("one meta is whole"), buckets);
    }
    let mut file = write(&buckets);
    file[30] ^= 1;
    file[4096 + 30] ^= 1;
    assert!(matches!(read(&file), Err(Error::NoMeta)));
}

#[test]
fn a_damaged_page_is_named() {
    let entries = (0u32..500).map(|n| (n.to_be_bytes().to_vec(), vec![1; 20])).collect();
    let mut file = write(&BTreeMap::from([(b"b".to_vec(), entries)]));
    file[5 * 4096] ^= 1;
    assert!(matches!(read(&file), Err(Error::Corrupt { page: 5, .. })));
}

#[test]
fn what_bbolt_would_refuse_is_refused() {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("a writer");
    let mut bucket = writer.bucket(b"m").expect("a name");
    bucket.put(b"b", b"").expect("a key");
    assert!(bucket.put(b"a", b"").is_err(), "keys rise");
    assert!(bucket.put(b"b", b"").is_err(), "keys rise");
    assert!(bucket.put(&[1; 32769], b"").is_err(), "a long key");
    bucket.finish().expect("a bucket");
    assert!(writer.bucket(b"a").is_err(), "names rise");
    assert!(writer.bucket(b"").is_err(), "an empty name");
}
