//! The shard map's last guard: whoever writes it, epochs and its version only
//! rise, and nobody serves who was not first announced. A split gives buckets a new
//! number and no other owner or epoch; parts are not joined.
//!
//! Controllers plan by the same rules and compare the object's version; this
//! holds also for a person with kubectl and for a write that compares nothing.

use resources::{FieldError, Kind, SHARD_MAP_NAME, ShardMapSpec};
use serde::Deserialize;
use serde_json::Value;
use topology::{Assignment, ShardMap, ShardState};

use super::ours;
use crate::{object, resource::Rules};

pub const fn rules() -> Rules {
    let rules = ours::rules::<ShardMapSpec>();
    Rules { validate, validate_update, ..rules }
}

fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = ours::validate::<ShardMapSpec>(object);
    if object::name(object) != SHARD_MAP_NAME {
        let detail =
            format!("there is one {}, and it is named {SHARD_MAP_NAME}", ShardMapSpec::KIND);
        errors.push(FieldError::invalid("metadata.name", object::name(object), detail));
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let map = |object: &Value| ShardMap::deserialize(object.get("status")?).ok();
    // A status that does not parse was refused by `validate`; one that is
    // absent is the empty map.
    let (new, old) = (map(new).unwrap_or_default(), map(old).unwrap_or_default());
    if new == old {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if new.version <= old.version {
        let detail = format!("must rise with every change: it is {} now", old.version);
        errors.push(FieldError::invalid("status.version", new.version, detail));
    }
    for (shard, before) in &old.assignments {
        if let Some(why) = refusal(Some(before), new.get(*shard)) {
            let path = format!("status.ranges[{shard}]");
            errors.push(FieldError::not_supported(path, why));
        }
    }
    for (shard, after) in &new.assignments {
        if old.get(*shard).is_some() {
            continue;
        }
        // A part is judged by what its buckets had.
        let before = new.layout.buckets(*shard).and_then(|b| old.of_bucket(b.first()));
        if let Some(why) = refusal(before, Some(after)) {
            let path = format!("status.ranges[{shard}]");
            errors.push(FieldError::not_supported(path, why));
        }
    }
    for shard in new.layout.shards().chain(old.layout.shards()) {
        let now = new.layout.buckets(shard);
        let left = now.is_some_and(|now| {
            let whole = old.layout.shard_of(now.first());
            let kept = !old.layout.has(shard) || whole == shard;
            kept && old.layout.buckets(whole).is_some_and(|whole| whole.covers(now))
        });
        if !left {
            let path = format!("status.buckets[{shard}]");
            errors
                .push(FieldError::not_supported(path, "buckets only leave a shard, for a new one"));
            break;
        }
    }
    errors
}

/// Why a shard may not go from one state to the other.
fn refusal(before: Option<&Assignment>, after: Option<&Assignment>) -> Option<&'static str> {
    let Some(after) = after else {
        return Some("a shard that was given to a unit stays in the map");
    };
    match before {
        Some(before) if after == before => None,
        Some(before) if after.epoch < before.epoch => Some("an epoch never falls"),
        Some(before) if after.epoch == before.epoch => match (&before.state, &after.state) {
            (ShardState::Moving { to, .. }, ShardState::Serving { unit }) if to == unit => None,
            _ => Some("an epoch is taken once: a new intent takes a higher one"),
        },
        _ => match &after.state {
            ShardState::Moving { .. } => None,
            ShardState::Serving { .. } => Some("a new epoch starts as Moving"),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: Value, after: Value, expected: &[&str]) {
        let status = |version: u32, range: Value| match range {
            Value::Null => json!({}),
            range => json!({"status": {"version": version, "ranges": [range]}}),
        };
        let errors = validate_update(&status(8, after.clone()), &status(7, before));
        let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
        assert_eq!(details, expected, "{after}");
    }

    fn moving(epoch: u32, to: &str) -> Value {
        json!({"shards": "07", "epoch": epoch, "state": "Moving", "to": to})
    }

    fn serving(epoch: u32, unit: &str) -> Value {
        json!({"shards": "07", "epoch": epoch, "state": "Serving", "unit": unit})
    }

    #[test]
    fn a_shard_takes_the_road_of_the_design_and_no_other() {
        check(json!(null), moving(1, "a"), &[]);
        check(moving(1, "a"), serving(1, "a"), &[]);
        check(serving(1, "a"), moving(2, "b"), &[]);
        check(moving(2, "b"), moving(3, "a"), &[]);
        check(json!(null), serving(1, "a"), &["a new epoch starts as Moving"]);
        check(serving(1, "a"), serving(2, "b"), &["a new epoch starts as Moving"]);
        let once = "an epoch is taken once: a new intent takes a higher one";
        check(moving(1, "a"), serving(1, "b"), &[once]);
        check(moving(1, "a"), moving(1, "b"), &[once]);
        check(serving(1, "a"), moving(1, "a"), &[once]);
        check(moving(3, "a"), moving(2, "b"), &["an epoch never falls"]);
    }

    #[test]
    fn a_split_gives_a_new_number_and_nothing_else() {
        let map = |version: u32, buckets: &Value, ranges: Vec<Value>| json!({"status": {"version": version, "buckets": buckets, "ranges": ranges}});
        let whole = json!({});
        let halves = json!({"07": "0700-0749", "100": "0750-0799"});
        let part = |mut range: Value| {
            range["shards"] = json!("100");
            range
        };
        let check = |before: (&Value, Vec<Value>), after: (&Value, Vec<Value>), expected: usize| {
            let (before, after) = (map(3, before.0, before.1), map(4, after.0, after.1));
            let errors = validate_update(&after, &before);
            assert_eq!(errors.len(), expected, "{after}: {errors:?}");
        };
        let one = || (&whole, vec![serving(5, "a")]);
        let two = |range: Value| (&halves, vec![serving(5, "a"), part(range)]);
        check(one(), two(serving(5, "a")), 0);
        check(two(serving(5, "a")), two(moving(6, "b")), 0);
        // A part that is given away, or counts anew, or is nobody's.
        check(one(), two(serving(5, "b")), 1);
        check(one(), two(serving(6, "b")), 1);
        check(one(), two(serving(1, "a")), 1);
        // What was split stays so.
        check(two(serving(5, "a")), one(), 2);
        let other = json!({"07": "0700-0739", "100": "0740-0799"});
        check(two(serving(5, "a")), (&other, vec![serving(5, "a"), part(serving(5, "a"))]), 1);
    }

    #[test]
    fn the_map_neither_shrinks_nor_changes_under_its_version() {
        let map =
            |version: u32| json!({"status": {"version": version, "ranges": [moving(1, "a")]}});
        assert_eq!(validate_update(&json!({}), &map(3)).len(), 2);
        assert_eq!(validate_update(&map(3), &map(3)).len(), 0);
        assert_eq!(validate_update(&map(3), &json!({"status": {"version": 3}})).len(), 1);
    }
}
