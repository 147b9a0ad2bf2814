//! Values that leave memory to keep it within a budget, and come back.

use std::collections::HashMap;

use keyspace::{Base, Change, Config, Fold, Keyspace, Loader, Place, Record, Values};
use kv::{KeyRange, Op, RangeRequest, Revision, Txn, Value};
use rt::{Millis, random::Random};

const KEYS: u64 = 40;
const BUDGET: usize = 1_500;

/// What an engine would find.
#[derive(Default)]
struct Disk {
    log: Vec<Record>,
    values: HashMap<Place, Value>,
}

impl Disk {
    fn append(&mut self, records: Vec<Record>) {
        for record in &records {
            let Record::Txn { revision, changes } = record else { continue };
            for change in changes {
                if let Change::Put { key, value, .. } = change {
                    let place = Place { key: key.clone(), written: *revision };
                    self.values.insert(place, value.clone());
                }
            }
        }
        self.log.extend(records);
    }

    fn fetch(&self, places: Vec<Place>) -> Values {
        let mut values = Values::default();
        for place in places {
            let value = self.values[&place].clone();
            values.insert(place, value);
        }
        values
    }
}

fn everything(keyspace: &Keyspace, disk: &Disk, at: Revision) -> kv::RangeResponse {
    let request = RangeRequest::new(KeyRange::prefix("")).at(at);
    let values = disk.fetch(keyspace.range_needs(&request, keyspace.revision()));
    keyspace.range(&request, keyspace.revision(), &values).expect("it can be read")
}

#[test]
fn memory_stays_within_its_budget_and_every_read_is_as_without_one() {
    for seed in 0..30 {
        let mut random = Random::seeded(seed);
        let none = Values::default();
        let mut disk = Disk::default();
        let mut whole = Keyspace::new(Config::default());
        let mut tight = Keyspace::new(Config::default());
        let mut compacted = Revision(1);
        for step in 0..400 {
            let key = format!("key-{:02}", random.below(KEYS));
            let op = match random.below(5) {
                0 => Op::delete(key),
                _ => Op::put(key, vec![step as u8; 64 + random.below(100) as usize]),
            };
            let txn = Txn::default().then(vec![op]);
            let values = disk.fetch(tight.needs(&txn, &none));
            let applied = whole.apply(&txn, &none).expect("a write");
            assert_eq!(tight.apply(&txn, &values).expect("a write"), applied);
            disk.append(applied.records);
            let now = whole.revision();
            // As a store does it: a bounded step for each batch.
            for _ in 0..KEYS {
                tight.evict(now, BUDGET, 3);
            }
            assert!(tight.inline_bytes() <= BUDGET, "{} bytes, seed {seed}", tight.inline_bytes());
            if random.below(20) == 0 && now > compacted {
                compacted = Revision(compacted.0 + random.below(now.0 - compacted.0) + 1);
                let records = whole.compact(compacted, now).expect("it can be").records;
                assert_eq!(tight.compact(compacted, now).expect("it can be").records, records);
                disk.append(records);
            }
            let at = Revision(compacted.0 + random.below(now.0 - compacted.0 + 1));
            assert_eq!(everything(&tight, &disk, at), everything(&whole, &disk, at));
        }
        assert!(tight.has_outside() && !whole.has_outside());
        for keyspace in [&mut whole, &mut tight] {
            // From where it stood to the end, from the end, and from the start.
            for _ in 0..3 {
                keyspace.evict(Revision(u64::MAX), 0, usize::MAX);
            }
            assert_eq!(keyspace.inline_bytes(), 0, "what is counted is what is there");
        }
    }
}

#[test]
fn a_load_keeps_no_more_values_than_it_may_and_reads_the_same() {
    let mut disk = Disk::default();
    let mut before = Keyspace::new(Config::default());
    let none = Values::default();
    for number in 0..50 {
        let put = Txn::default().then(vec![Op::put(format!("key-{number:02}"), vec![number; 100])]);
        disk.append(before.apply(&put, &none).expect("a put").records);
    }
    let mut fold = Fold::default();
    let in_base = 30;
    disk.log[..in_base].iter().cloned().for_each(|record| fold.add(record));
    let mut base = Base::default();
    base.apply(fold);
    let (revision, now) = (base.revision, Millis(0));
    let mut loader = Loader::new(Config::default(), revision, base.compacted, BUDGET, now);
    loader.log(disk.log[in_base..].iter().cloned());
    for row in base.rows {
        loader.row(row).expect("it fits the base");
    }
    let loaded = loader.finish().expect("it is whole");
    // The log is in memory until it has been looked at.
    assert_eq!(loaded.inline_bytes(), BUDGET + 20 * 100);
    let now = before.revision();
    assert_eq!(everything(&loaded, &disk, now), everything(&before, &disk, now));
}
