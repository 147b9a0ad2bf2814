//! Random histories, run by the keyspace and by a naive twin that keeps a copy
//! of the whole map for every revision. Every answer, every range at every
//! revision and every watch must agree; and it must not matter whether values
//! are in memory, nor whether the keyspace was loaded anew in between. A follower
//! that is fed the leader's batches is the same after each of them.

mod generate;
mod naive;
mod run;

use generate::Step;
use proptest::{collection::vec, prelude::*};
use run::Run;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_keyspace_and_its_naive_twin_agree(steps in vec(generate::step(), 1..60)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.finish();
    }
}

/// The shortest history of each kind that once was, or easily could be, wrong.
#[test]
fn known_pitfalls_agree_with_the_twin() {
    use Step::*;
    let histories: Vec<Vec<Step>> = vec![
        // A deletion at the compacted revision is still watched (etcd#19179).
        vec![
            generate::put("a"),
            Watch(generate::watch_all(2)),
            generate::delete("a"),
            Settle,
            Compact(0),
            Poll,
            Reload,
        ],
        // Deleted, compacted, put again (etcd#18089).
        vec![
            generate::put("a"),
            generate::delete("a"),
            Settle,
            Compact(0),
            generate::put("a"),
            Watch(generate::watch_all(3)),
            Settle,
            Poll,
            Reload,
        ],
        // A watch that starts in the future sees nothing older (etcd#20221).
        vec![
            Watch(generate::watch_all(4)),
            generate::put("a"),
            generate::put("a"),
            generate::put("a"),
            Settle,
            Poll,
        ],
        // Reload between grant and expiry gives the whole time again.
        vec![
            Grant { id: 1, ttl_s: 5 },
            generate::put_leased("a", 1),
            Advance(4_000),
            Reload,
            Advance(4_000),
            Expire,
            Advance(2_000),
            Expire,
        ],
    ];
    for history in histories {
        let mut run = Run::new();
        history.into_iter().for_each(|step| run.step(step));
        run.finish();
    }
}
