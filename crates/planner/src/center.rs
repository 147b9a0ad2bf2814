//! When a center counts as lost.
//!
//! Each center's controllers probe every other center and keep a [`Tower`] of
//! what they see. A center that has not answered for [`SUSPECT_AFTER_MS`] is
//! suspect. One observer's suspicion is not evidence: [`Tower::lost`] needs our
//! own, fresh suspicion and that of observers in two or more cities, and a
//! majority of those who can be heard.
//!
//! Time that we did not see pass proves nothing: after a stall of our own,
//! nothing is decided until a whole window has been watched again, in which
//! answers that waited in our sockets are heard first.

use std::collections::{BTreeMap, BTreeSet};

use resources::Observation;
pub use resources::SUSPECT_AFTER_MS;
use rt::Millis;
use topology::{CenterName, CityName};

pub const PROBE_INTERVAL_MS: u64 = 200;

/// Half the window: a gap between our own ticks beyond this voids it.
pub const STALL_MS: u64 = SUSPECT_AFTER_MS / 2;

/// A center that was never heard since we started may simply not have started
/// yet; longer than a whole estate takes to come up.
pub const FIRST_ANSWER_MS: u64 = 20_000;

/// How long it counts that a silent center's machine took a connection: it is
/// knocked at once a second.
pub const MUTE_MS: u64 = 2_500;

/// Losses this close together are judged together: if they would be half of
/// the centers or more, it is rather us who are cut off, and people decide.
pub const JUDGED_TOGETHER_MS: u64 = 10_000;

/// The other centers, as one observer sees them.
#[derive(Debug)]
pub struct Tower {
    me: CenterName,
    peers: BTreeMap<CenterName, Peer>,
    last_tick: Option<Millis>,
    /// Since when we have been watching without a stall.
    watching_since: Millis,
    /// What we have judged lost, as long as the evidence stands.
    judged: BTreeSet<CenterName>,
    /// What was judged lost lately, heard again or not.
    judged_at: BTreeMap<CenterName, Millis>,
}

#[derive(Debug)]
struct Peer {
    city: CityName,
    answered: Option<Millis>,
    known_since: Millis,
    suspect: bool,
    /// When its machine last took a connection while it did not answer.
    knocked: Option<Millis>,
}

/// What another observer has written down.
pub type Reports = BTreeMap<CenterName, BTreeMap<CenterName, Observation>>;

/// The judgement of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Lost, by evidence that still stands.
    pub lost: BTreeSet<CenterName>,
    /// There is evidence, but too much of it at once to act on.
    pub withheld: BTreeSet<CenterName>,
    /// Suspected by us without evidence, and half of the centers or more: either
    /// they are lost, or we are cut off.
    pub unsure: BTreeSet<CenterName>,
    /// Those of all whose machine takes connections, in the eyes of most who
    /// suspect them.
    pub mute: BTreeSet<CenterName>,
}

// === impl Tower ===

impl Tower {
    #[must_use]
    pub fn new(me: CenterName, now: Millis) -> Tower {
        Tower {
            me,
            peers: BTreeMap::new(),
            last_tick: None,
            watching_since: now,
            judged: BTreeSet::new(),
            judged_at: BTreeMap::new(),
        }
    }

    /// Takes over which other centers there are.
    pub fn set_peers(
        &mut self,
        centers: impl IntoIterator<Item = (CenterName, CityName)>,
        now: Millis,
    ) {
        let mut before = std::mem::take(&mut self.peers);
        for (center, city) in centers {
            let unknown = Peer {
                city: city.clone(),
                answered: None,
                known_since: now,
                suspect: false,
                knocked: None,
            };
            let peer = before.remove(&center).map_or(unknown, |peer| Peer { city, ..peer });
            self.peers.insert(center, peer);
        }
        let peers = &self.peers;
        self.judged.retain(|center| peers.contains_key(center));
    }

    /// `center` answered at `now` a probe that was sent at `sent`. An answer
    /// older than the window is no news of the present. True when the center was
    /// suspect, quiet, or had never been heard, so that something looks different
    /// now.
    pub fn answered(&mut self, center: &CenterName, sent: Millis, now: Millis) -> bool {
        let quiet = self.quiet(now).contains(center);
        let Some(peer) = self.peers.get_mut(center) else { return false };
        if now.since(sent) > SUSPECT_AFTER_MS {
            return false;
        }
        let news = quiet || peer.suspect || peer.answered.is_none();
        peer.answered = Some(now);
        peer.suspect = false;
        peer.knocked = None;
        self.judged.remove(center);
        news
    }

    /// The machine of `center`, whose probe is not answered, took a connection at
    /// `now`, or did not. True when something looks different now.
    pub fn knocked(&mut self, center: &CenterName, taken: bool, now: Millis) -> bool {
        let Some(peer) = self.peers.get_mut(center) else { return false };
        let before = peer.knocked.is_some();
        peer.knocked = taken.then_some(now);
        peer.suspect && before != taken
    }

    /// To be called at least every [`PROBE_INTERVAL_MS`], after the answers
    /// that have arrived were told. True when something looks different now.
    pub fn tick(&mut self, now: Millis) -> bool {
        let stalled = self.last_tick.is_some_and(|last| now.since(last) > STALL_MS);
        self.last_tick = Some(now);
        if stalled {
            self.watching_since = now;
        }
        let overdue = |(center, peer): (&CenterName, &Peer)| {
            (!peer.suspect && now >= self.suspect_at(peer)).then(|| center.clone())
        };
        let overdue: Vec<_> = self.peers.iter().filter_map(overdue).collect();
        for center in &overdue {
            self.peers.get_mut(center).expect("it was found among them").suspect = true;
        }
        let mut forgotten = false;
        for peer in self.peers.values_mut() {
            if peer.knocked.is_some_and(|at| now.since(at) > MUTE_MS) {
                peer.knocked = None;
                forgotten |= peer.suspect;
            }
        }
        stalled || forgotten || !overdue.is_empty()
    }

    /// When the next center will become suspect if it stays silent.
    #[must_use]
    pub fn next_suspicion(&self) -> Option<Millis> {
        let quiet = self.peers.values().filter(|peer| !peer.suspect);
        quiet.map(|peer| self.suspect_at(peer)).min()
    }

    fn suspect_at(&self, peer: &Peer) -> Millis {
        let (heard, patience_ms) = match peer.answered {
            Some(answered) => (answered, SUSPECT_AFTER_MS),
            None => (peer.known_since, FIRST_ANSWER_MS),
        };
        heard.max(self.watching_since).plus(patience_ms)
    }

    /// Since when a suspect has not answered.
    #[must_use]
    pub fn silent_since(&self, center: &CenterName) -> Option<Millis> {
        let peer = self.peers.get(center).filter(|peer| peer.suspect)?;
        Some(peer.answered.unwrap_or(peer.known_since))
    }

    /// While anyone is suspect: who else has not answered for half the window.
    #[must_use]
    pub fn quiet(&self, now: Millis) -> BTreeSet<CenterName> {
        if !self.peers.values().any(|peer| peer.suspect) {
            return BTreeSet::new();
        }
        let quiet =
            |peer: &Peer| !peer.suspect && peer.answered.is_some_and(|at| now.since(at) > STALL_MS);
        let quiet = self.peers.iter().filter(|(_, peer)| quiet(peer));
        quiet.map(|(center, _)| center.clone()).collect()
    }

    /// What to tell the others. A center that was never heard and is not
    /// suspect either is left out.
    #[must_use]
    pub fn observations(&self) -> BTreeMap<CenterName, Observation> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.suspect || peer.answered.is_some())
            .map(|(center, peer)| {
                let seen = match (peer.suspect, peer.knocked) {
                    (false, _) => Observation::Alive,
                    (true, None) => Observation::Suspect,
                    (true, Some(_)) => Observation::Mute,
                };
                (center.clone(), seen)
            })
            .collect()
    }

    #[must_use]
    pub fn suspects(&self, center: &CenterName) -> bool {
        self.peers.get(center).is_some_and(|peer| peer.suspect)
    }

    /// Answered, and not suspect: fit to take shards.
    #[must_use]
    pub fn hears(&self, center: &CenterName) -> bool {
        *center == self.me
            || self.peers.get(center).is_some_and(|peer| !peer.suspect && peer.answered.is_some())
    }

    /// Which centers are lost, by our eyes and `reports` together; none while
    /// we have not watched for a whole window. `city` is our own.
    #[must_use]
    pub fn judge(&mut self, city: &CityName, reports: &Reports, now: Millis) -> Option<Judgement> {
        if now.since(self.watching_since) < SUSPECT_AFTER_MS {
            return None;
        }
        let evident = |center: &&CenterName| self.is_evident(center, city, reports);
        let evident: BTreeSet<_> = self.peers.keys().filter(evident).cloned().collect();
        // What others hear again is not lost, even where we still do not.
        self.judged.retain(|center| evident.contains(center));
        let new: BTreeSet<_> = evident.difference(&self.judged).cloned().collect();
        self.judged_at.retain(|_, at| now.since(*at) < JUDGED_TOGETHER_MS);
        let earlier = self.judged_at.keys().filter(|center| !new.contains(*center)).count();
        // We are one of the centers, and not among our peers.
        let centers = self.peers.len() + 1;
        let withheld = if (earlier + new.len()) * 2 < centers {
            self.judged_at.extend(new.iter().map(|center| (center.clone(), now)));
            self.judged.extend(new);
            BTreeSet::new()
        } else {
            new
        };
        let suspects = self.peers.iter().filter(|(_, peer)| peer.suspect);
        let suspects: BTreeSet<_> = suspects.map(|(center, _)| center.clone()).collect();
        let unsure = match suspects.len() * 2 >= centers {
            true => suspects.difference(&evident).cloned().collect(),
            false => BTreeSet::new(),
        };
        let all = suspects.iter();
        let mute = all.filter(|center| self.is_mute(center, reports)).cloned().collect();
        Some(Judgement { lost: self.judged.clone(), withheld, unsure, mute })
    }

    /// Our suspicion, confirmed from two cities by a majority of the observers
    /// we can hear.
    fn is_evident(&self, center: &CenterName, city: &CityName, reports: &Reports) -> bool {
        if !self.suspects(center) {
            return false;
        }
        let mut cities = BTreeSet::from([city]);
        let (mut agree, mut heard) = (1, 1);
        for (observer, observations) in reports {
            let Some(peer) = self.peers.get(observer) else { continue };
            if peer.suspect || peer.answered.is_none() || observer == center {
                continue;
            }
            heard += 1;
            if observations.get(center).is_some_and(|seen| seen.is_suspicion()) {
                agree += 1;
                cities.insert(&peer.city);
            }
        }
        cities.len() >= 2 && agree * 2 > heard
    }

    /// Whether most of those who suspect the center, and whom we hear, see its
    /// machine take connections.
    fn is_mute(&self, center: &CenterName, reports: &Reports) -> bool {
        let ours = self.peers.get(center).is_some_and(|peer| peer.knocked.is_some());
        let (mut mute, mut suspect) = (usize::from(ours), 1);
        for (observer, observations) in reports {
            if !self.hears(observer) || observer == center {
                continue;
            }
            match observations.get(center) {
                Some(Observation::Mute) => (mute, suspect) = (mute + 1, suspect + 1),
                Some(Observation::Suspect) => suspect += 1,
                Some(Observation::Alive) | None => {}
            }
        }
        mute * 2 > suspect
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

    fn center(name: &str) -> CenterName {
        name.parse().expect("a name")
    }

    fn city(name: &str) -> CityName {
        name.parse().expect("a name")
    }

    fn names(centers: &BTreeSet<CenterName>) -> String {
        centers.iter().map(CenterName::as_str).collect::<Vec<_>>().join(" ")
    }

    /// A tower on `west-1` that has heard everyone at `now`, with ticks after.
    struct Watch {
        tower: Tower,
        now: u64,
    }

    impl Watch {
        fn start() -> Watch {
            let mut tower = Tower::new(center("west-1"), Millis(0));
            let peers = ESTATE.iter().filter(|(name, _)| *name != "west-1");
            tower.set_peers(peers.map(|(name, place)| (center(name), city(place))), Millis(0));
            let mut watch = Watch { tower, now: 0 };
            watch.run(1_000, &["east-1", "east-2", "south-1", "south-2"]);
            watch
        }

        fn run(&mut self, ms: u64, answering: &[&str]) {
            for _ in 0..ms / PROBE_INTERVAL_MS {
                self.now += PROBE_INTERVAL_MS;
                for name in answering {
                    self.tower.answered(&center(name), Millis(self.now), Millis(self.now));
                }
                self.tower.tick(Millis(self.now));
            }
        }

        fn judge(&mut self, reports: &[(&str, &[&str])]) -> Judgement {
            let reports = reports
                .iter()
                .map(|(observer, suspects)| {
                    let others = ESTATE.iter().filter(|(name, _)| name != observer);
                    let seen = others.map(|(name, _)| match suspects.contains(name) {
                        true => (center(name), Observation::Suspect),
                        false => (center(name), Observation::Alive),
                    });
                    (center(observer), seen.collect())
                })
                .collect();
            self.tower.judge(&city("west"), &reports, Millis(self.now)).unwrap_or_default()
        }
    }

    const EAST: [&str; 2] = ["east-1", "east-2"];
    const SOUTH: [&str; 2] = ["south-1", "south-2"];

    #[test]
    fn a_silent_city_is_lost_after_the_window_with_evidence_from_two_cities() {
        let mut watch = Watch::start();
        watch.run(600, &SOUTH);
        let agreed: [(&str, &[&str]); 2] = [("south-1", &EAST), ("south-2", &EAST)];
        assert_eq!(watch.judge(&agreed), Judgement::default());
        watch.run(200, &SOUTH);
        assert_eq!(names(&watch.judge(&agreed).lost), "east-1 east-2");

        watch.run(200, &["east-2", "south-1", "south-2"]);
        assert_eq!(names(&watch.judge(&agreed).lost), "east-1", "who answers is not lost");
    }

    #[test]
    fn whoever_falls_silent_with_a_suspect_is_quiet_and_who_stays_is_not() {
        let mut watch = Watch::start();
        watch.run(200, &["east-2", "south-1", "south-2"]);
        watch.run(400, &SOUTH);
        assert_eq!(watch.tower.quiet(Millis(watch.now)).len(), 0, "nobody is suspect yet");
        watch.run(200, &SOUTH);
        assert!(watch.tower.suspects(&center("east-1")));
        assert_eq!(names(&watch.tower.quiet(Millis(watch.now))), "east-2", "600 ms, and south 0");
        let now = Millis(watch.now);
        assert!(watch.tower.answered(&center("east-2"), now, now), "that looks different");
        assert_eq!(watch.tower.quiet(now).len(), 0);
    }

    #[test]
    fn our_suspicion_alone_and_theirs_alone_are_no_evidence() {
        let mut watch = Watch::start();
        watch.run(800, &SOUTH);
        assert_eq!(watch.judge(&[]), Judgement::default());
        assert_eq!(watch.judge(&[("south-1", &[]), ("south-2", &[])]), Judgement::default());
        assert_eq!(watch.judge(&[("south-1", &EAST), ("south-2", &[])]).lost.len(), 2);

        let mut watch = Watch::start();
        watch.run(800, &["east-1", "east-2", "south-1", "south-2"]);
        let theirs: [(&str, &[&str]); 2] = [("south-1", &EAST), ("south-2", &EAST)];
        assert_eq!(watch.judge(&theirs), Judgement::default());
    }

    #[test]
    fn reports_of_the_suspected_do_not_count() {
        let mut watch = Watch::start();
        watch.run(800, &[]);
        let all: [(&str, &[&str]); 4] =
            [("east-1", &SOUTH), ("east-2", &SOUTH), ("south-1", &EAST), ("south-2", &EAST)];
        let judgement = watch.judge(&all);
        assert!(judgement.lost.is_empty() && judgement.withheld.is_empty());
        assert_eq!(judgement.unsure.len(), 4, "they are lost, or we are cut off");
    }

    #[test]
    fn half_of_the_centers_at_once_are_not_moved() {
        let mut watch = Watch::start();
        watch.run(800, &["south-2"]);
        let report: [(&str, &[&str]); 1] = [("south-2", &["east-1", "east-2", "south-1"])];
        let judgement = watch.judge(&report);
        assert_eq!(names(&judgement.lost), "");
        assert_eq!(names(&judgement.withheld), "east-1 east-2 south-1");
    }

    #[test]
    fn losses_in_a_row_are_judged_together() {
        let mut watch = Watch::start();
        watch.run(800, &SOUTH);
        let agreed: [(&str, &[&str]); 2] = [("south-1", &EAST), ("south-2", &EAST)];
        assert_eq!(watch.judge(&agreed).lost.len(), 2);
        watch.run(1_000, &["south-2"]);
        let three: [(&str, &[&str]); 1] = [("south-2", &["east-1", "east-2", "south-1"])];
        assert_eq!(names(&watch.judge(&three).withheld), "south-1");
        watch.run(JUDGED_TOGETHER_MS, &["south-2"]);
        assert_eq!(names(&watch.judge(&three).lost), "east-1 east-2 south-1");
    }

    #[test]
    fn a_stall_of_our_own_voids_the_window() {
        let mut watch = Watch::start();
        watch.run(600, &SOUTH);
        watch.now += 5_000;
        assert!(watch.tower.tick(Millis(watch.now)), "that looks different");
        watch.run(200, &SOUTH);
        let agreed: [(&str, &[&str]); 2] = [("south-1", &EAST), ("south-2", &EAST)];
        assert_eq!(watch.judge(&agreed), Judgement::default());
        assert!(!watch.tower.suspects(&center("east-1")));
        watch.run(800, &SOUTH);
        assert_eq!(watch.judge(&agreed).lost.len(), 2);
    }

    #[test]
    fn a_silent_center_whose_machine_takes_connections_is_mute_for_most_who_suspect_it() {
        let mut watch = Watch::start();
        let reports: [(&str, &[&str]); 2] = [("south-1", &EAST), ("south-2", &EAST)];
        watch.run(400, &SOUTH);
        let east = center("east-1");
        assert!(!watch.tower.knocked(&east, true, Millis(watch.now)), "it is no suspect yet");
        watch.run(400, &SOUTH);
        assert_eq!(watch.tower.observations()[&east], Observation::Mute);
        assert!(watch.judge(&reports).mute.is_empty(), "the others find its machine silent");

        let mut judge = |mute: &[&str]| {
            let seen = |observer: &str| match mute.contains(&observer) {
                true => [(east.clone(), Observation::Mute)].into(),
                false => [(east.clone(), Observation::Suspect)].into(),
            };
            let reports = SOUTH.iter().map(|name| (center(name), seen(name))).collect();
            watch.tower.judge(&city("west"), &reports, Millis(watch.now)).expect("a window")
        };
        assert!(judge(&["south-1"]).mute.contains(&east));
        assert!(judge(&["south-1"]).lost.contains(&east), "whether it moves is for the policy");
        assert!(judge(&[]).mute.is_empty());
        watch.tower.knocked(&east, false, Millis(watch.now));
        assert_eq!(watch.tower.observations()[&east], Observation::Suspect);
    }

    #[test]
    fn a_center_that_never_came_up_is_given_time() {
        let mut tower = Tower::new(center("west-1"), Millis(0));
        tower.set_peers([(center("east-1"), city("east"))], Millis(0));
        for now in (0..FIRST_ANSWER_MS).step_by(200) {
            tower.tick(Millis(now));
        }
        assert!(tower.observations().is_empty());
        tower.tick(Millis(FIRST_ANSWER_MS));
        assert!(tower.suspects(&center("east-1")));
    }

    #[test]
    fn an_answer_from_before_the_window_is_no_news() {
        let mut watch = Watch::start();
        watch.run(800, &SOUTH);
        let now = Millis(watch.now);
        assert!(!watch.tower.answered(&center("east-1"), Millis(watch.now - 801), now));
        assert!(watch.tower.suspects(&center("east-1")));
        assert!(watch.tower.answered(&center("east-1"), Millis(watch.now - 800), now));
        assert!(!watch.tower.suspects(&center("east-1")));
        assert!(!watch.tower.answered(&center("east-1"), now, now), "one more is no news");
    }
}
