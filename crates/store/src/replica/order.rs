//! Which of the living replicas should lead a keyspace. Pure.
//!
//! Everybody ranks everybody by a hash of the keyspace's and the replica's
//! names, so the keyspaces spread, each has an heir when its leader goes, and
//! no one has to agree on anything. A person may choose otherwise for one
//! keyspace (`MoveLeader`): the chosen name stands in a note of the keyspace,
//! and comes first while a replica of that name lives.

use engine::{Epoch, ReplicaId};
use kv::KeyspaceName;
use rt::{Millis, random::Random};

use super::{Lead, Peer, Situation};

/// Between the ranks: long enough for the better one to look twice and raise.
/// All look often while a leader is late with its beat.
const RANK_DELAY_MS: u64 = 150;
/// That a leader has given its lead back is seen only with the next beat.
const RELEASED_DELAY_MS: u64 = 400;

/// How long the better replica has been seen alive, and the worse has led,
/// before a keyspace moves without need.
const STEADY_MS: u64 = 5_000;

/// Between two such moves away from one leader: from a pause that nobody
/// notices up to one that a replica which never takes what it is given, or
/// that comes and goes, cannot turn into an outage.
const HANDOVER_EVERY_MIN_MS: u64 = 30_000;
const HANDOVER_EVERY_MAX_MS: u64 = 600_000;

/// What a replica that follows may do about the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Somebody leads, or may still lead.
    Theirs,
    /// Ours, after having found it so for this long.
    After(u64),
}

/// When a leader may give a keyspace away that it could keep.
#[derive(Debug)]
pub(crate) struct Handover {
    not_before: Millis,
    every_ms: u64,
    /// A person has asked for it.
    asked: bool,
}

pub(crate) fn turn(situation: &Situation, keyspace: &KeyspaceName, chosen: Option<&str>) -> Turn {
    if situation.refusal.is_some() || situation.me == ReplicaId::default() {
        return Turn::Theirs;
    }
    match situation.lead {
        Lead::Other(_) => Turn::Theirs,
        // Under an epoch of ours that we do not lead: its end was unknown.
        Lead::Me => Turn::After(0),
        Lead::Nobody | Lead::Silent { .. } => {
            let order = ranked(situation, keyspace, chosen);
            let rank = order.iter().position(|peer| peer.id == situation.me).unwrap_or(order.len());
            let released = situation.lead == Lead::Nobody && situation.epoch > Epoch::default();
            let delay_ms = if released { RELEASED_DELAY_MS } else { RANK_DELAY_MS };
            Turn::After(rank as u64 * delay_ms)
        }
    }
}

/// Who should lead, with since when it lives.
pub(crate) fn preferred<'a>(
    situation: &'a Situation,
    keyspace: &KeyspaceName,
    chosen: Option<&str>,
) -> Option<&'a Peer> {
    ranked(situation, keyspace, chosen).first().copied()
}

fn ranked<'a>(
    situation: &'a Situation,
    keyspace: &KeyspaceName,
    chosen: Option<&str>,
) -> Vec<&'a Peer> {
    let mut peers: Vec<_> = situation.alive.iter().collect();
    peers.sort_by_key(|peer| {
        (Some(&*peer.name) != chosen, weight(keyspace.as_str(), &peer.name), peer.id)
    });
    peers
}

/// The lowest leads. Replicas of two releases must agree on it: FNV-1a's 64-bit
/// parameters over both names, then mixed, since FNV's high bits are poor.
fn weight(keyspace: &str, replica: &str) -> u64 {
    let bytes = keyspace.bytes().chain([0]).chain(replica.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Random::seeded(hash).next_u64()
}

// === impl Handover ===

impl Default for Handover {
    fn default() -> Handover {
        Handover { not_before: Millis(0), every_ms: HANDOVER_EVERY_MIN_MS, asked: false }
    }
}

impl Handover {
    /// When to give a keyspace, led since `led_since`, to `better`.
    pub fn due(&self, led_since: Millis, better: &Peer) -> Millis {
        if self.asked {
            return Millis(0);
        }
        let steady = led_since.max(better.since).plus(STEADY_MS);
        steady.max(self.not_before)
    }

    pub fn ask(&mut self) {
        self.asked = true;
    }

    pub fn done(&mut self, now: Millis) {
        self.asked = false;
        self.not_before = now.plus(self.every_ms);
        self.every_ms = (self.every_ms * 2).min(HANDOVER_EVERY_MAX_MS);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

    const NAMES: [&str; 3] = ["store-a", "store-b", "store-c"];

    fn situation(me: u64, alive: &[u64], lead: Lead) -> Situation {
        let peer = |id: &u64| Peer {
            id: ReplicaId(*id),
            name: NAMES[*id as usize - 1].into(),
            urls: Vec::new(),
            since: Millis(0),
        };
        let alive: Arc<[Peer]> = alive.iter().map(peer).collect();
        Situation { me: ReplicaId(me), lead, alive, ..Situation::default() }
    }

    fn keyspace(n: usize) -> KeyspaceName {
        KeyspaceName::new(&format!("ledger-{n:02}")).expect("a name")
    }

    fn leader(alive: &[u64], n: usize) -> u64 {
        let situation = situation(1, alive, Lead::Nobody);
        preferred(&situation, &keyspace(n), None).expect("somebody lives").id.0
    }

    #[test]
    fn keyspaces_spread_and_only_those_of_a_lost_replica_move() {
        let mut led = BTreeMap::<u64, usize>::new();
        for n in 0..90 {
            let before = leader(&[1, 2, 3], n);
            *led.entry(before).or_default() += 1;
            let after = leader(&[1, 3], n);
            assert!(before == after || before == 2, "keyspace {n}: {before} to {after}");
        }
        assert!(led.values().all(|count| (15..=45).contains(count)), "{led:?}");
    }

    #[test]
    fn exactly_one_of_the_living_comes_first_and_the_others_wait_their_turn() {
        let mut delays: Vec<_> = [1, 2, 3]
            .map(|me| turn(&situation(me, &[1, 2, 3], Lead::Nobody), &keyspace(0), None))
            .into();
        delays.sort_by_key(|turn| match turn {
            Turn::Theirs => u64::MAX,
            Turn::After(ms) => *ms,
        });
        assert_eq!(delays, [0, 1, 2].map(|rank| Turn::After(rank * RANK_DELAY_MS)));
    }

    #[test]
    fn whom_a_person_chose_comes_first_while_it_lives() {
        for name in NAMES {
            let all = situation(1, &[1, 2, 3], Lead::Nobody);
            let first = preferred(&all, &keyspace(0), Some(name)).expect("somebody lives");
            assert_eq!(first.name, name);
        }
        let without = situation(1, &[1, 2], Lead::Nobody);
        let first = preferred(&without, &keyspace(0), Some("store-c")).expect("somebody lives");
        assert_eq!(Some(first), preferred(&without, &keyspace(0), None));
    }

    #[test]
    fn nobody_claims_from_a_leader_that_may_live() {
        let peer = situation(1, &[2], Lead::Nobody).alive[0].clone();
        let led = situation(1, &[1, 2], Lead::Other(Arc::new(peer)));
        assert_eq!(turn(&led, &keyspace(0), None), Turn::Theirs);
        let mine = situation(1, &[1, 2], Lead::Me);
        assert_eq!(turn(&mine, &keyspace(0), None), Turn::After(0));
    }

    #[test]
    fn handovers_without_need_grow_rare_and_one_that_was_asked_for_is_at_once() {
        let better = situation(1, &[2], Lead::Nobody).alive[0].clone();
        let mut handover = Handover::default();
        assert_eq!(handover.due(Millis(1_000), &better), Millis(6_000));
        handover.done(Millis(6_000));
        assert_eq!(handover.due(Millis(7_000), &better), Millis(36_000));
        handover.done(Millis(36_000));
        assert_eq!(handover.due(Millis(37_000), &better), Millis(96_000));
        handover.ask();
        assert_eq!(handover.due(Millis(38_000), &better), Millis(0));
    }
}
