//! Sets of fields beside a naive twin: a plain set of paths.

use std::collections::BTreeSet;

use merge::fields::{Fields, Path, Step};
use proptest::prelude::*;
use serde_json::json;

type Twin = BTreeSet<Path>;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::sample::select(vec!["a", "b", "c"]).prop_map(Step::field),
        (0..2_i64).prop_map(|n| Step::key(&[("id", &json!(n))])),
        (0..2_i64).prop_map(|n| Step::value(&json!(n))),
    ]
}

fn twin() -> impl Strategy<Value = Twin> {
    let path = prop::collection::vec(step(), 1..4).prop_map(Path);
    prop::collection::btree_set(path, 0..12)
}

fn fields(twin: &Twin) -> Fields {
    let mut fields = Fields::default();
    twin.iter().for_each(|path| fields.insert(path));
    fields
}

fn paths(fields: &Fields) -> Twin {
    let mut paths = Twin::new();
    fields.for_each(&mut |path| assert!(paths.insert(path.clone()), "each path once"));
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_hold_what_was_put_in(twin in twin(), other in twin()) {
        let fields = fields(&twin);
        prop_assert_eq!(paths(&fields), twin.clone());
        prop_assert_eq!(fields.is_empty(), twin.is_empty());
        for path in twin.union(&other) {
            prop_assert_eq!(fields.has(path), twin.contains(path));
        }
    }

    #[test]
    fn algebra_is_that_of_plain_sets(a in twin(), b in twin()) {
        let (left, right) = (fields(&a), fields(&b));
        let check = |result: Fields, expected: Twin| {
            prop_assert_eq!(paths(&result), expected.clone());
            // One form each: equal sets are equal values.
            prop_assert_eq!(result, fields(&expected));
            Ok(())
        };
        check(left.union(&right), a.union(&b).cloned().collect())?;
        check(left.intersection(&right), a.intersection(&b).cloned().collect())?;
        check(left.difference(&right), a.difference(&b).cloned().collect())?;
    }

    #[test]
    fn what_is_written_is_read_again(twin in twin()) {
        let fields = fields(&twin);
        prop_assert_eq!(Fields::from_json(&fields.to_json()), Ok(fields));
    }
}
