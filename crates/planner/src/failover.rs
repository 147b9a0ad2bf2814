//! Which of the centers that look lost may be moved now, by the policy, and
//! what the others wait for.
//!
//! That a center is lost is `center`'s judgement; this asks what its silence
//! looks like, and whether that may move anything by itself.

use std::collections::{BTreeMap, BTreeSet};

use resources::{Evidence, FailoverLoad, FailoverPolicySpec, FailoverStep, Preference, Rule};
use topology::{CenterName, CityName, ShardMap, ShardSet, UnitName};

use crate::{
    center::{JUDGED_TOGETHER_MS, SUSPECT_AFTER_MS},
    shard_map::Plan,
    shard_move::{
        effect::{Load, Traffic, effect},
        selection::Leg,
    },
    unit::Places,
};

/// A center that looks lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub silent_ms: u64,
    /// Its machine takes connections.
    pub mute: bool,
    /// Too many look lost with it.
    pub withheld: bool,
}

/// The failover before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub ago_ms: u64,
    pub centers: BTreeSet<CenterName>,
}

/// Everything a verdict depends on.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    pub policy: &'a FailoverPolicySpec,
    pub seen: &'a BTreeMap<CenterName, Sighting>,
    /// Every center there is.
    pub cities: &'a BTreeMap<CenterName, CityName>,
    /// Those of which a person said that they are to be moved.
    pub approved: &'a BTreeSet<CenterName>,
    pub last: Option<Last>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub evidence: Evidence,
    /// None: it may be moved now.
    pub wait: Option<Wait>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    #[error("waits for approval")]
    Approval,
    #[error("paused: waits until it has been silent for {after_ms} ms")]
    Pause { after_ms: u64, left_ms: u64 },
    /// The others of its city have not had time to fall silent too.
    #[error("waits to see whether its city is silent")]
    City { left_ms: u64 },
    #[error(
        "the failover before was {ago_ms} ms ago, and the policy wants {interval_ms} ms between two"
    )]
    TooSoon { ago_ms: u64, interval_ms: u64 },
}

/// A verdict for each center that looks lost.
#[must_use]
pub fn judge(look: &Look<'_>) -> BTreeMap<CenterName, Verdict> {
    let verdict = |(center, seen): (&CenterName, &Sighting)| {
        let evidence = look.evidence(center, *seen);
        let wait = match look.approved.contains(center) {
            true => None,
            false => look.wait(center, *seen, evidence),
        };
        (center.clone(), Verdict { evidence, wait })
    };
    look.seen.iter().map(verdict).collect()
}

/// What a failover does, shards of the same way in one step.
#[must_use]
pub fn steps(plan: &Plan) -> Vec<FailoverStep> {
    let mut ways = BTreeMap::<(&UnitName, &UnitName), Vec<_>>::new();
    for leg in &plan.steps {
        if let Some(from) = &leg.before {
            ways.entry((from, &leg.unit)).or_default().push(leg.shard);
        }
    }
    let step = |((from, to), shards): ((&UnitName, &UnitName), Vec<_>)| FailoverStep {
        shards: shards.into_iter().collect::<ShardSet>(),
        from: from.clone(),
        to: to.clone(),
    };
    ways.into_iter().map(step).collect()
}

/// What the units that take over would carry then, and what if one more were
/// lost (N−1).
#[must_use]
pub fn loads(
    before: &ShardMap,
    plan: &Plan,
    places: &Places,
    prefer: Preference,
) -> Vec<FailoverLoad> {
    let leg = |step: &crate::shard_map::Step| {
        let (shard, from, to) = (step.shard, step.before.clone()?, step.unit.clone());
        Some(Leg { shard, from, to })
    };
    let legs: Vec<_> = plan.steps.iter().filter_map(leg).collect();
    let changes = effect(before, &legs, &Traffic::new(), places, prefer);
    let count = |load: Load| u32::try_from(load.shards).expect("there are few shards");
    let takers = changes.into_iter().filter(|(unit, _)| legs.iter().any(|leg| leg.to == *unit));
    takers
        .map(|(unit, change)| FailoverLoad {
            unit,
            shards_before: count(change.before),
            shards_after: count(change.after),
            shards_if_another_is_lost: count(change.worst),
            another: change.worst_if_lost,
        })
        .collect()
}

// === impl Wait ===

impl Wait {
    /// When time alone ends it.
    #[must_use]
    pub fn left_ms(self) -> Option<u64> {
        match self {
            Wait::Approval => None,
            Wait::Pause { left_ms, .. } | Wait::City { left_ms } => Some(left_ms),
            Wait::TooSoon { ago_ms, interval_ms } => Some(interval_ms.saturating_sub(ago_ms)),
        }
    }
}

// === impl Look ===

impl Look<'_> {
    fn evidence(&self, center: &CenterName, seen: Sighting) -> Evidence {
        if seen.withheld {
            return Evidence::Majority;
        }
        if seen.mute {
            return Evidence::Paused;
        }
        let Some(city) = self.cities.get(center) else { return Evidence::Center };
        let others = self.cities.iter().filter(|(_, other)| *other == city);
        let silent = |other: &CenterName| self.seen.get(other).is_some_and(|seen| !seen.mute);
        if others.into_iter().all(|(other, _)| silent(other)) {
            Evidence::City
        } else {
            Evidence::Center
        }
    }

    fn wait(&self, center: &CenterName, seen: Sighting, evidence: Evidence) -> Option<Wait> {
        let policy = self.policy;
        let rule = match evidence {
            Evidence::Majority => return Some(Wait::Approval),
            Evidence::Paused if seen.silent_ms < policy.paused.after_ms => {
                let after_ms = policy.paused.after_ms;
                return Some(Wait::Pause { after_ms, left_ms: after_ms - seen.silent_ms });
            }
            Evidence::Paused => policy.paused.rule,
            Evidence::City => policy.city,
            // A city does not fall silent in one moment: what is more careful
            // with cities must not be outrun by the first of its centers.
            Evidence::Center
                if policy.city == Rule::Manual
                    && policy.center == Rule::Automatic
                    && seen.silent_ms < 2 * SUSPECT_AFTER_MS =>
            {
                return Some(Wait::City { left_ms: 2 * SUSPECT_AFTER_MS - seen.silent_ms });
            }
            Evidence::Center => policy.center,
        };
        match rule {
            Rule::Manual => Some(Wait::Approval),
            Rule::Automatic => self.too_soon(center),
        }
    }

    /// A center that follows another of its city is the same failover.
    fn too_soon(&self, center: &CenterName) -> Option<Wait> {
        let Last { ago_ms, centers } = self.last.as_ref()?;
        let interval_ms = self.policy.min_interval_ms;
        let city = self.cities.get(center);
        let same_city = centers.iter().any(|other| self.cities.get(other) == city);
        let follows = same_city && !centers.contains(center) && *ago_ms < JUDGED_TOGETHER_MS;
        let early = *ago_ms < interval_ms && !follows;
        early.then_some(Wait::TooSoon { ago_ms: *ago_ms, interval_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTATE: [(&str, &str); 5] = [
        ("east-1", "east"),
        ("east-2", "east"),
        ("south-1", "south"),
        ("south-2", "south"),
        ("west-1", "west"),
    ];

    fn centers(names: &str) -> BTreeSet<CenterName> {
        names.split_whitespace().map(|name| name.parse().expect("a name")).collect()
    }

    /// `seen` is `east-1 900` with `mute` or `withheld`; the answer names for
    /// each what may be moved, and what waits for what.
    fn check(policy: &str, approved: &str, last: Option<(u64, &str)>, seen: &[&str]) -> String {
        let policy: FailoverPolicySpec = serde_json::from_str(policy).expect(policy);
        let name = |text: &str| text.parse().expect("a name");
        let sighting = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let sighting = Sighting {
                silent_ms: words[1].parse().expect("milliseconds"),
                mute: words.contains(&"mute"),
                withheld: words.contains(&"withheld"),
            };
            (words[0].parse().expect("a name"), sighting)
        };
        let look = Look {
            policy: &policy,
            seen: &seen.iter().map(sighting).collect(),
            cities: &ESTATE
                .iter()
                .map(|(center, city)| (name(center), city.parse().expect("a name")))
                .collect(),
            approved: &centers(approved),
            last: last.map(|(ago_ms, names)| Last { ago_ms, centers: centers(names) }),
        };
        let text = |(center, Verdict { evidence, wait }): (CenterName, Verdict)| {
            let wait = wait.map_or("go".into(), |wait| match wait {
                Wait::Approval => "approval".into(),
                wait => format!("{} ms", wait.left_ms().expect("time ends it")),
            });
            format!("{center} {evidence:?} {wait}")
        };
        judge(&look).into_iter().map(text).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn without_a_policy_every_evidence_but_that_of_a_majority_moves_at_once() {
        let at_once = |seen: &[&str]| check("{}", "", None, seen);
        assert_eq!(at_once(&["east-1 800"]), "east-1 Center go");
        assert_eq!(at_once(&["east-1 800", "east-2 900"]), "east-1 City go; east-2 City go");
        assert_eq!(at_once(&["west-1 800"]), "west-1 City go", "its only center");
        assert_eq!(at_once(&["west-1 800 mute"]), "west-1 Paused go");
        assert_eq!(
            at_once(&["east-1 800 mute", "east-2 900"]),
            "east-1 Paused go; east-2 Center go",
            "a city with a machine that answers is not silent"
        );
        assert_eq!(at_once(&["east-1 800 withheld"]), "east-1 Majority approval");
    }

    #[test]
    fn what_the_policy_wants_approved_waits_for_a_person() {
        let (city, center) = (r#"{"city": "Manual"}"#, r#"{"center": "Manual"}"#);
        let both = ["east-1 900", "east-2 800"];
        assert_eq!(check(city, "", None, &both), "east-1 City approval; east-2 City approval");
        assert_eq!(check(city, "east-1", None, &both), "east-1 City go; east-2 City approval");
        assert_eq!(check(city, "", None, &["east-1 900"]), "east-1 Center 700 ms");
        assert_eq!(check(city, "", None, &["east-1 1600"]), "east-1 Center go");
        assert_eq!(check(center, "", None, &["east-1 900"]), "east-1 Center approval");
        assert_eq!(check(center, "", None, &both), "east-1 City go; east-2 City go");
        assert_eq!(
            check("{}", "east-1", None, &["east-1 900 withheld", "east-2 900 withheld"]),
            "east-1 Majority go; east-2 Majority approval"
        );
    }

    #[test]
    fn a_pause_moves_nothing_until_it_has_lasted() {
        let policy = r#"{"paused": {"afterMs": 10000}}"#;
        assert_eq!(check(policy, "", None, &["west-1 5000 mute"]), "west-1 Paused 5000 ms");
        assert_eq!(check(policy, "", None, &["west-1 10000 mute"]), "west-1 Paused go");
        assert_eq!(check(policy, "", None, &["west-1 800"]), "west-1 City go");
        let policy = r#"{"paused": {"rule": "Manual", "afterMs": 10000}}"#;
        assert_eq!(check(policy, "", None, &["west-1 5000 mute"]), "west-1 Paused 5000 ms");
        assert_eq!(check(policy, "", None, &["west-1 10000 mute"]), "west-1 Paused approval");
    }

    #[test]
    fn failovers_keep_their_distance_and_the_rest_of_a_city_is_none_of_its_own() {
        let policy = r#"{"minIntervalMs": 60000}"#;
        let ago = |ms, names, seen: &[&str]| check(policy, "", Some((ms, names)), seen);
        assert_eq!(ago(20_000, "west-1", &["east-1 900"]), "east-1 Center 40000 ms");
        assert_eq!(ago(60_000, "west-1", &["east-1 900"]), "east-1 Center go");
        assert_eq!(ago(300, "east-2", &["east-1 900"]), "east-1 Center go");
        assert_eq!(ago(20_000, "east-2", &["east-1 900"]), "east-1 Center 40000 ms");
        assert_eq!(ago(300, "east-1", &["east-1 900"]), "east-1 Center 59700 ms", "it flaps");
        assert_eq!(
            check(policy, "east-1", Some((300, "west-1")), &["east-1 900"]),
            "east-1 Center go"
        );
    }
}
