//! The judgement of centers against its promises, restated naively, over
//! random silences, reports and stalls.

use std::collections::{BTreeMap, BTreeSet};

use planner::center::{JUDGED_TOGETHER_MS, Judgement, Reports, STALL_MS, SUSPECT_AFTER_MS, Tower};
use proptest::prelude::*;
use resources::Observation;
use rt::Millis;
use topology::{CenterName, CityName};

const ME: &str = "west-1";
const PEERS: [(&str, &str); 4] =
    [("east-1", "east"), ("east-2", "east"), ("south-1", "south"), ("south-2", "south")];

/// One moment: how long after the one before, who answers (bits), and what
/// each observer reports (bits of suspects).
#[derive(Clone, Debug)]
struct Moment {
    after_ms: u64,
    answering: u8,
    reports: [u8; 4],
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let after = prop_oneof![20 => 50..250_u64, 1 => 400..3_000_u64];
    // Long stretches of the same silence are what leads anywhere.
    let answering = prop_oneof![6 => Just(0b1100_u8), 6 => Just(0b1111), 2 => any::<u8>()];
    let reports = prop_oneof![
        6 => Just([0, 0, 0b0011, 0b0011]),
        2 => any::<[u8; 4]>(),
        1 => Just([0; 4]),
    ];
    let moment = (after, answering, reports).prop_map(|(after_ms, answering, reports)| Moment {
        after_ms,
        answering,
        reports,
    });
    let stretch = (moment, 1..12_usize).prop_map(|(moment, times)| vec![moment; times]);
    prop::collection::vec(stretch, 1..40).prop_map(|stretches| stretches.concat())
}

fn center(at: usize) -> CenterName {
    PEERS[at].0.parse().expect("a name")
}

fn city(at: usize) -> CityName {
    PEERS[at].1.parse().expect("a name")
}

fn reports(moment: &Moment) -> Reports {
    let report = |at: usize| {
        let seen = (0..4).filter(|other| *other != at).map(|other| {
            let suspect = moment.reports[at] & (1 << other) != 0;
            (center(other), if suspect { Observation::Suspect } else { Observation::Alive })
        });
        (center(at), seen.collect())
    };
    (0..4).map(report).collect()
}

/// What is remembered outside, to check the answers against.
#[derive(Default)]
struct Checker {
    answered: BTreeMap<CenterName, u64>,
    watching_since: u64,
    lost: BTreeSet<CenterName>,
    newly_lost_at: Vec<(u64, CenterName)>,
}

impl Checker {
    fn check(
        &mut self,
        moment: &Moment,
        now: u64,
        judgement: Option<Judgement>,
    ) -> Result<(), TestCaseError> {
        let fresh = now - self.watching_since >= SUSPECT_AFTER_MS;
        prop_assert_eq!(judgement.is_some(), fresh, "judged exactly when watched for a window");
        let Some(Judgement { lost, withheld, .. }) = judgement else { return Ok(()) };
        let silent = |center: &CenterName| {
            self.answered.get(center).is_none_or(|at| now - at >= SUSPECT_AFTER_MS)
        };
        for center in lost.union(&withheld) {
            prop_assert!(silent(center), "{} answered within the window", center);
            let cities: BTreeSet<_> = (0..4)
                .filter(|at| !silent(&self::center(*at)) && self::center(*at) != *center)
                .filter(|at| reports(moment)[&self::center(*at)][center] == Observation::Suspect)
                .map(city)
                .collect();
            prop_assert!(!cities.is_empty(), "{} is suspected in our city only", center);
        }
        for center in lost.difference(&self.lost) {
            self.newly_lost_at.push((now, center.clone()));
        }
        let together: BTreeSet<_> = self
            .newly_lost_at
            .iter()
            .filter(|(at, _)| now - at < JUDGED_TOGETHER_MS)
            .map(|(_, center)| center)
            .collect();
        prop_assert!(together.len() * 2 < PEERS.len() + 1, "{:?} were moved together", together);
        self.lost = lost;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn judgements_keep_their_promises(moments in moments()) {
        let mut tower = Tower::new(ME.parse().expect("a name"), Millis(0));
        tower.set_peers((0..4).map(|at| (center(at), city(at))), Millis(0));
        let (mut checker, mut now) = (Checker::default(), 0);
        for moment in &moments {
            if now > 0 && moment.after_ms > STALL_MS {
                checker.watching_since = now + moment.after_ms;
            }
            now += moment.after_ms;
            for at in (0..4).filter(|at| moment.answering & (1 << at) != 0) {
                tower.answered(&center(at), Millis(now), Millis(now));
                checker.answered.insert(center(at), now);
            }
            tower.tick(Millis(now));
            let judgement = tower.judge(&"west".parse().expect("a name"), &reports(moment), Millis(now));
            checker.check(moment, now, judgement)?;
        }
    }
}

#[test]
fn a_lost_city_is_found_in_this_setting() {
    let mut tower = Tower::new(ME.parse().expect("a name"), Millis(0));
    tower.set_peers((0..4).map(|at| (center(at), city(at))), Millis(0));
    let mut lost = BTreeSet::new();
    for step in 0..40_u64 {
        let now = Millis(step * 100);
        let answering = if step < 10 { 0..4 } else { 2..4 };
        for at in answering {
            tower.answered(&center(at), now, now);
        }
        tower.tick(now);
        let moment = Moment { after_ms: 100, answering: 0, reports: [0, 0, 0b0011, 0b0011] };
        let judgement = tower.judge(&"west".parse().expect("a name"), &reports(&moment), now);
        lost = judgement.unwrap_or_default().lost;
    }
    assert_eq!(lost, BTreeSet::from([center(0), center(1)]));
}
