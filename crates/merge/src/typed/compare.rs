//! What changed between two objects, field by field.

use std::collections::BTreeMap;

use schema::Schema;
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, Node, Step},
    shape::{Kind, Known, ListOf, MapOf, kind},
};

/// No field is in more than one of them, but for items that were there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    pub added: Fields,
    pub modified: Fields,
    pub removed: Fields,
}

/// What happened to a value itself, and below it.
#[derive(Default)]
struct Change {
    added: bool,
    modified: bool,
    removed: bool,
    below: Delta,
}

/// One side of a comparison: none when the value is absent.
type Side<'a> = Option<&'a Value>;

/// From `old` to `new`; an absent object is an empty one.
pub fn compare(old: Option<&Value>, new: &Value, schema: &Schema) -> Result<Delta, String> {
    let nothing = Value::Object(Map::new());
    let change = change(Some(old.unwrap_or(&nothing)), Some(new), Some(schema))?;
    Ok(change.below)
}

fn change(old: Side<'_>, new: Side<'_>, known: Known<'_>) -> Result<Change, String> {
    match (old, new) {
        (Some(a), Some(b)) if a == b => Ok(Change::default()),
        (Some(a), Some(b)) => {
            let (was, is) = (kind(known, a), kind(known, b));
            match was.is_same(is) {
                true => change_of(old, new, is),
                // Where anything may stand, it can become something else.
                false => Ok(change_of(old, new, was)?.and(change_of(old, new, is)?)),
            }
        }
        (Some(one), None) | (None, Some(one)) => change_of(old, new, kind(known, one)),
        (None, None) => Ok(Change::default()),
    }
}

fn change_of(old: Side<'_>, new: Side<'_>, kind: Kind<'_>) -> Result<Change, String> {
    let below = match kind {
        Kind::Map(map) if !map.is_atomic() => {
            let (old, new) = (entries(old), entries(new));
            match old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
                true => None,
                false => Some(change_of_map(old, new, map)?),
            }
        }
        Kind::List(list) if !list.is_atomic() => {
            let (old, new) = (items(old), items(new));
            match old.is_empty() && new.is_empty() {
                true => None,
                false => Some(change_of_list(old, new, list)?),
            }
        }
        _ => None,
    };
    let change = Change { added: old.is_none(), removed: new.is_none(), ..Change::default() };
    Ok(match below {
        Some(below) => Change { below, ..change },
        None => Change { modified: old.is_some() && new.is_some(), ..change },
    })
}

fn entries(side: Side<'_>) -> Option<&Map<String, Value>> {
    side.and_then(Value::as_object)
}

fn items(side: Side<'_>) -> &[Value] {
    side.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn change_of_map(
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    map: MapOf<'_>,
) -> Result<Delta, String> {
    let mut delta = Delta::default();
    let mut of_old = old.into_iter().flatten().peekable();
    let mut of_new = new.into_iter().flatten().peekable();
    loop {
        let (name, a, b) = match (of_old.peek(), of_new.peek()) {
            (None, None) => return Ok(delta),
            (Some((name, _)), Some((other, _))) if name == other => {
                let pair = (of_old.next(), of_new.next());
                let (Some((name, a)), Some((_, b))) = pair else { return Ok(delta) };
                (name, Some(a), Some(b))
            }
            (Some((name, _)), Some((other, _))) if name > other => take_new(&mut of_new),
            (None, Some(_)) => take_new(&mut of_new),
            (Some(_), _) => {
                let Some((name, a)) = of_old.next() else { return Ok(delta) };
                (name, Some(a), None)
            }
        };
        if let (Some(a), Some(b)) = (a, b)
            && a == b
        {
            continue;
        }
        let entry = map.entry(name);
        // A struct that is there has all its plain fields.
        let a = a.or_else(|| old.and_then(|_| entry.unset()));
        let b = b.or_else(|| new.and_then(|_| entry.unset()));
        let change = change(a, b, entry.known())?;
        change.attach(&mut delta, || Step::field(name));
    }
}

fn take_new<'a>(
    of_new: &mut impl Iterator<Item = (&'a String, &'a Value)>,
) -> (&'a String, Side<'a>, Side<'a>) {
    let (name, value) = of_new.next().expect("it was seen to have one");
    (name, None, Some(value))
}

/// The items of one step, on both sides.
type Twins<'a> = (Vec<&'a Value>, Vec<&'a Value>);

fn change_of_list(old: &[Value], new: &[Value], list: ListOf<'_>) -> Result<Delta, String> {
    let mut twins: BTreeMap<Step, Twins<'_>> = BTreeMap::new();
    for (step, item) in list.steps(old)?.into_iter().zip(old) {
        twins.entry(step).or_default().0.push(item);
    }
    for (step, item) in list.steps(new)?.into_iter().zip(new) {
        twins.entry(step).or_default().1.push(item);
    }
    let mut delta = Delta::default();
    for (step, (old, new)) in twins {
        let change = match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => {
                change(old.first().copied(), new.first().copied(), list.items())?
            }
            // Twice before and after: compared as they are.
            ([_, _, ..], [_, _, ..]) => Change { modified: old != new, ..Change::default() },
            ([_, _, ..], _) => {
                let change = change(None, new.first().copied(), list.items())?;
                Change { removed: true, ..change }
            }
            (_, [_, _, ..]) => {
                let change = change(old.first().copied(), None, list.items())?;
                Change { added: true, ..change }
            }
        };
        change.attach(&mut delta, || step.clone());
    }
    Ok(delta)
}

// === impl Change ===

impl Change {
    fn and(self, other: Change) -> Change {
        Change {
            added: self.added || other.added,
            modified: self.modified || other.modified,
            removed: self.removed || other.removed,
            below: Delta {
                added: self.below.added.union(&other.below.added),
                modified: self.below.modified.union(&other.below.modified),
                removed: self.below.removed.union(&other.below.removed),
            },
        }
    }

    /// Makes this what happened at `step`; steps come in their order.
    fn attach(self, delta: &mut Delta, step: impl Fn() -> Step) {
        let sides = [
            (self.added, self.below.added, &mut delta.added),
            (self.modified, self.below.modified, &mut delta.modified),
            (self.removed, self.below.removed, &mut delta.removed),
        ];
        for (member, below, side) in sides {
            if member || !below.is_empty() {
                side.push(Node { step: step(), member, below });
            }
        }
    }
}

// === impl Delta ===

impl Delta {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.added.retain(&wanted);
        self.modified.retain(&wanted);
        self.removed.retain(&wanted);
    }

    pub(crate) fn lose(&mut self, fields: &Fields) {
        for side in [&mut self.added, &mut self.modified, &mut self.removed] {
            *side = side.difference(fields);
        }
    }

    /// What has another value than before.
    pub(crate) fn changed(&self) -> Fields {
        self.modified.union(&self.added)
    }
}
