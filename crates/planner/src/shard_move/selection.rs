//! Which shards an order means, and where each goes.

use std::collections::BTreeMap;

use resources::ShardMoveSpec;
use topology::{BucketRange, Shard, ShardMap, UnitName};

use crate::unit::Places;

/// One shard's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub shard: Shard,
    pub from: UnitName,
    pub to: UnitName,
}

/// Why there is no plan (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("there is no unit {0} that owns user shards")]
    NoUnit(UnitName),
    #[error("shard {0} was not given to a unit yet")]
    Unassigned(Shard),
    #[error("no other unit than {0} is alive and ready")]
    Nobody(UnitName),
    #[error("there is no shard {0}")]
    NoShard(Shard),
    #[error("buckets {0} are not a shard of their own yet")]
    NotSplit(BucketRange),
}

/// What is to be moved: shards that are at their target already are left out.
pub fn select(order: &ShardMoveSpec, map: &ShardMap, places: &Places) -> Result<Vec<Leg>, Unfit> {
    for named in order.unit.iter().chain(&order.to) {
        if !places.contains_key(named) {
            return Err(Unfit::NoUnit(named.clone()));
        }
    }
    let shards: Vec<Shard> = match (&order.unit, order.buckets) {
        (Some(unit), _) => share(map.of_unit(unit).collect(), order.percent.unwrap_or(100)),
        (None, Some(buckets)) => {
            let part = map.layout.exactly(buckets).ok_or(Unfit::NotSplit(buckets))?;
            // A split alone sends nothing anywhere.
            order.to.iter().map(|_| part).collect()
        }
        (None, None) => order.shards.iter().collect(),
    };
    if let Some(shard) = shards.iter().find(|shard| !map.layout.has(**shard)) {
        return Err(Unfit::NoShard(*shard));
    }
    let mut spread = Spread::of(map, places);
    let mut legs = Vec::new();
    for shard in shards {
        let assignment = map.get(shard).ok_or(Unfit::Unassigned(shard))?;
        let from = assignment.state.target().clone();
        let to = match &order.to {
            Some(to) => to.clone(),
            None => spread.next(&from).ok_or_else(|| Unfit::Nobody(from.clone()))?,
        };
        if from != to {
            legs.push(Leg { shard, from, to });
        }
    }
    Ok(legs)
}

/// So many of a hundred, rounded up: a share is never nothing.
fn share(mut shards: Vec<Shard>, percent: u32) -> Vec<Shard> {
    let wanted = (shards.len() * percent as usize).div_ceil(100);
    shards.truncate(wanted);
    shards
}

/// Hands shards to the emptiest unit that can take one.
struct Spread<'a> {
    places: &'a Places,
    shards: BTreeMap<UnitName, usize>,
}

// === impl Spread ===

impl<'a> Spread<'a> {
    fn of(map: &ShardMap, places: &'a Places) -> Spread<'a> {
        let shards = places.keys().map(|unit| (unit.clone(), map.of_unit(unit).count())).collect();
        Spread { places, shards }
    }

    fn next(&mut self, from: &UnitName) -> Option<UnitName> {
        let fit = self.places.iter().filter(|(name, place)| {
            *name != from && place.alive && place.ready && !place.is_closed()
        });
        let emptiest =
            fit.min_by_key(|(name, _)| self.shards[*name]).map(|(name, _)| name.clone())?;
        *self.shards.entry(emptiest.clone()).or_default() += 1;
        Some(emptiest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard_move::progress::tests::{map, places, unit};

    fn check(order: &str, expected: Result<&str, &str>) {
        let map = map("00-19 serving rz01@3\n20-29 serving rz02@1\n30 moving rz02>rz01@2");
        let spec: ShardMoveSpec = serde_json::from_str(order).expect(order);
        let places = places(&["rz01", "rz02", "rz03", "rz04!"]);
        let legs = select(&spec, &map, &places).map(|legs| {
            let text = legs.iter().map(|leg| format!("{} {}>{}", leg.shard, leg.from, leg.to));
            text.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(
            legs.map_err(|unfit| unfit.to_string()),
            expected.map(Into::into).map_err(Into::into),
            "{order}"
        );
    }

    #[test]
    fn an_order_becomes_a_way_for_each_shard() {
        check(r#"{"shards": "19-20", "to": "rz03"}"#, Ok("19 rz01>rz03, 20 rz02>rz03"));
        check(r#"{"shards": "19-20", "to": "rz02"}"#, Ok("19 rz01>rz02"));
        check(r#"{"shards": "30", "to": "rz02"}"#, Ok("30 rz01>rz02"));
        check(
            r#"{"unit": "rz01", "percent": 10, "to": "rz02"}"#,
            Ok("00 rz01>rz02, 01 rz01>rz02, 02 rz01>rz02"),
        );
        check(r#"{"unit": "rz03"}"#, Ok(""));
        check(r#"{"shards": "31", "to": "rz02"}"#, Err("shard 31 was not given to a unit yet"));
        check(r#"{"shards": "100", "to": "rz02"}"#, Err("there is no shard 100"));
        check(
            r#"{"shards": "07", "buckets": "0750-0799", "to": "rz02"}"#,
            Err("buckets 0750-0799 are not a shard of their own yet"),
        );
        check(r#"{"shards": "07", "buckets": "0700-0799"}"#, Ok(""));
        check(r#"{"shards": "07", "buckets": "0700-0799", "to": "rz02"}"#, Ok("07 rz01>rz02"));
        check(
            r#"{"shards": "19", "to": "rz09"}"#,
            Err("there is no unit rz09 that owns user shards"),
        );
    }

    #[test]
    fn a_unit_that_is_emptied_fills_the_emptiest_first() {
        let map = map("00-19 serving rz01@3\n20-29 serving rz02@1");
        let order = ShardMoveSpec { unit: Some(unit("rz01")), ..ShardMoveSpec::default() };
        let legs = select(&order, &map, &places(&["rz01", "rz02", "rz03", "rz04!"])).expect("legs");
        let to = |name: &str| legs.iter().filter(|leg| leg.to == unit(name)).count();
        assert_eq!((to("rz02"), to("rz03"), to("rz04")), (5, 15, 0));
        let alone = select(&order, &map, &places(&["rz01", "rz02!"]));
        assert_eq!(alone, Err(Unfit::Nobody(unit("rz01"))));
    }
}
