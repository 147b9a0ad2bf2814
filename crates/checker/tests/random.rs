//! Random histories of a store that is right, and the same with one answer
//! changed: the first must pass, the second must not.

mod common;

use std::collections::BTreeMap;

use checker::{
    History,
    history::{Change, KeyValue, Outcome, Request, Response, Said},
    linear::{self, Verdict},
};
use common::{get, kv, put, put_refused, put_unknown, swap, watch_all, wrote_put};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Swap(usize),
    Get(usize),
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    Refused,
    /// Nobody hears of it, and it takes effect this many steps later, or never.
    Unknown(Option<usize>),
}

fn step() -> impl Strategy<Value = (Step, Fate, u64, u64)> {
    let key = 0usize..2;
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Put),
        2 => key.clone().prop_map(Step::Swap),
        3 => key.prop_map(Step::Get),
    ];
    let fate = prop_oneof![
        8 => Just(Fate::Answered),
        1 => Just(Fate::Refused),
        2 => prop::option::of(0usize..6).prop_map(Fate::Unknown),
    ];
    (step, fate, 0u64..25, 0u64..25)
}

/// A store that takes one step every 10 ticks, whatever clients overlap.
#[derive(Default)]
struct World {
    history: History,
    keys: BTreeMap<&'static str, KeyValue>,
    late: Vec<(usize, &'static str, Option<u64>, String)>,
}

const KEYS: [&str; 2] = ["a", "b"];

impl World {
    fn revision(&self) -> u64 {
        1 + self.history.log.len() as u64
    }

    fn write(&mut self, key: &'static str, value: &str, now: u64) -> u64 {
        let modified = self.revision() + 1;
        let (created, version) =
            self.keys.get(key).map_or((modified, 1), |old| (old.created, old.version + 1));
        let new = kv(key, value, (created, modified, version));
        self.keys.insert(key, new.clone());
        self.history.log.push(wrote_put(now, new));
        modified
    }

    fn modified(&self, key: &str) -> u64 {
        self.keys.get(key).map_or(0, |kv| kv.modified)
    }

    fn step(&mut self, index: usize, (step, fate, early, late): (Step, Fate, u64, u64)) {
        let now = 1000 + index as u64 * 10;
        let span = (now - early, now + 1 + late);
        let due = self.late.iter().position(|(at, ..)| *at <= index);
        if let Some((_, key, seen, value)) = due.map(|due| self.late.remove(due))
            && seen.is_none_or(|seen| seen == self.modified(key))
        {
            self.write(key, &value, now - 5);
        }
        let value = format!("v{index}");
        let (key, seen) = match step {
            Step::Put(key) => (KEYS[key], None),
            Step::Swap(key) => (KEYS[key], Some(self.modified(KEYS[key]))),
            Step::Get(key) => {
                let found = self.keys.get(KEYS[key]).cloned();
                self.history.operations.push(get(span, self.revision(), KEYS[key], found));
                return;
            }
        };
        let operation = match (fate, seen) {
            (Fate::Answered, None) => put(span, key, &value, self.write(key, &value, now)),
            (Fate::Answered, Some(seen)) => {
                swap(span, key, seen, &value, Some(self.write(key, &value, now)))
            }
            (Fate::Refused, _) => put_refused(span, key, &value),
            (Fate::Unknown(after), seen) => {
                if let Some(after) = after {
                    self.late.push((index + after + 3, key, seen, value.clone()));
                }
                match seen {
                    None => put_unknown(span, key, &value),
                    Some(seen) => swap(span, key, seen, &value, None),
                }
            }
        };
        self.history.operations.push(operation);
    }
}

fn good(steps: &[(Step, Fate, u64, u64)]) -> History {
    let mut world = World::default();
    for (index, step) in steps.iter().enumerate() {
        world.step(index, step.clone());
    }
    let puts =
        world.history.log.iter().flat_map(|at| &at.changes).filter_map(|change| match change {
            Change::Put(kv) => Some(kv.clone()),
            Change::Delete { .. } => None,
        });
    let items = puts.map(|kv| common::events(&[kv])).collect::<Vec<Said>>();
    let watch = watch_all(2, items);
    let at = 1_000_000;
    let items = watch.items.into_iter().map(|item| checker::history::Item { at, ..item });
    world.history.watches = vec![checker::history::Watch { items: items.collect(), ..watch }];
    world.history
}

/// Changes the answer of the first read from `from` on to another than it was.
fn changed(history: &History, from: usize) -> Option<History> {
    let mut history = history.clone();
    let from = from % history.operations.len();
    let (key, wrong) = history.operations[from..].iter_mut().find_map(|operation| {
        match (&operation.request, &mut operation.outcome) {
            (Request::Range(range), Outcome::Ok(Response::Range(ranged))) => {
                Some((&range.keys.key, ranged))
            }
            _ => None,
        }
    })?;
    match wrong.kvs.first_mut() {
        Some(kv) => kv.value = "from nowhere".into(),
        None => {
            wrong.kvs.push(kv(key, "from nowhere", (2, 2, 1)));
            wrong.count = 1;
        }
    }
    Some(history)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_right_passes_and_one_wrong_answer_does_not(
        steps in vec(step(), 1..40), from in 0usize..40
    ) {
        let history = good(&steps);
        common::check(&history, &[]);
        let verdicts = linear::verdicts(&history);
        prop_assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Explained));

        let mut unlogged = history.clone();
        unlogged.log.clear();
        common::check(&unlogged, &[]);

        let mut bytes = Vec::new();
        history.write(&mut bytes).expect("memory takes it");
        prop_assert_eq!(&History::read(&bytes[..]).expect("it was just written"), &history);

        if let Some(wrong) = changed(&history, from) {
            let violations = checker::check(&wrong);
            let rules = common::rules(&violations);
            prop_assert_eq!(rules, ["linearizability", "strict serializability"]);
        }
    }
}
