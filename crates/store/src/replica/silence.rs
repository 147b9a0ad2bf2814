//! When a replica's silence is proof that its lease is over. Pure.
//!
//! A beat that stands still says two things: no later beat had been written
//! when we looked, so every lease that rests on a beat we know has run out
//! [`LEASE_MS`] after we first saw it; and its sender is probably gone. The
//! first is a fact; the second is a guess, and it is not made from looks with a
//! hole between them: whoever was paused, or cut off from the log, would find
//! everybody silent, and would take over from the whole estate at once.
//!
//! The same holds for an epoch that stands still. Whoever raised it may have
//! died before it had waited for the leases of those before it; these have run
//! out once the epoch has stood for as long.

use std::collections::BTreeMap;

use engine::{Board, Epoch, ReplicaId};
use kv::KeyspaceName;
use rt::Millis;

/// How long one beat lets a leader answer reads from memory. Four beats long,
/// so that a slow commit or two costs nothing; short, because it is the larger
/// part of how long a keyspace is without a leader.
pub(crate) const LEASE_MS: u64 = 1_000;

/// What clocks may differ by within a lease: a tenth, a thousand times what
/// they do.
pub(crate) const MARGIN_MS: u64 = 100;

/// Between two looks that belong together.
const GAP_MAX_MS: u64 = LEASE_MS / 2;

#[derive(Debug, Default)]
pub(crate) struct Silence {
    seen: BTreeMap<ReplicaId, Seen>,
    /// Since when each keyspace's epoch has stood, and whether that is long
    /// enough.
    epochs: BTreeMap<KeyspaceName, (Epoch, Millis, bool)>,
    /// The end of the last look.
    last: Option<Millis>,
}

#[derive(Debug)]
struct Seen {
    /// `None`: it leads, but its row is gone from the board.
    beat: Option<u64>,
    /// The end of the first look, of an unbroken row of them, that found it so.
    since: Millis,
    /// Its beat has stood still long enough.
    silent: bool,
    /// When it was first seen to move, unless it fell silent after that.
    alive: Option<Millis>,
}

// === impl Silence ===

impl Silence {
    /// Takes in a board that was read between `began` and `ended`.
    pub fn look(&mut self, board: &Board, began: Millis, ended: Millis) {
        let broken = self.last.is_none_or(|last| ended.since(last) > GAP_MAX_MS);
        self.last = Some(ended);
        if broken {
            self.seen.values_mut().for_each(|seen| seen.since = ended);
            self.epochs.values_mut().for_each(|(_, since, _)| *since = ended);
        }
        for head in &board.heads {
            let first = (head.epoch, ended, false);
            let (epoch, since, stood) = self.epochs.entry(head.keyspace.clone()).or_insert(first);
            if *epoch == head.epoch {
                *stood = began.since(*since) >= LEASE_MS + MARGIN_MS;
            } else {
                (*epoch, *since, *stood) = first;
            }
        }
        let mut found: BTreeMap<ReplicaId, Option<u64>> =
            board.heads.iter().filter_map(|head| Some((head.leader?, None))).collect();
        found.extend(board.replicas.iter().map(|replica| (replica.id, Some(replica.beat))));
        self.seen.retain(|id, _| found.contains_key(id));
        for (id, beat) in found {
            let first = Seen { beat, since: ended, silent: false, alive: None };
            let seen = self.seen.entry(id).or_insert(first);
            if seen.beat == beat {
                seen.silent = began.since(seen.since) >= LEASE_MS + MARGIN_MS;
            } else {
                let alive = beat.is_some().then(|| seen.alive.unwrap_or(ended));
                *seen = Seen { beat, since: ended, silent: false, alive };
            }
            if seen.silent {
                seen.alive = None;
            }
        }
    }

    /// The beat at which it fell silent, if it did; `None` inside is a row that
    /// is gone.
    pub fn silent(&self, id: ReplicaId) -> Option<Option<u64>> {
        self.seen.get(&id).filter(|seen| seen.silent).map(|seen| seen.beat)
    }

    /// Whether the leases of everyone who led before this epoch have run out.
    pub fn has_stood(&self, keyspace: &KeyspaceName) -> bool {
        self.epochs.get(keyspace).is_some_and(|(_, _, stood)| *stood)
    }

    /// Since when its beat was seen to move; none for whom was only found there.
    pub fn alive(&self, id: ReplicaId) -> Option<Millis> {
        self.seen.get(&id)?.alive
    }

    /// How long its beat has stood still, as far as we know.
    pub fn still_ms(&self, id: ReplicaId, now: Millis) -> u64 {
        self.seen.get(&id).map_or(0, |seen| now.since(seen.since))
    }
}

#[cfg(test)]
mod tests {
    use engine::{Head, Replica, Seq};
    use kv::Revision;
    use rt::random::Random;

    use super::*;

    const OTHER: ReplicaId = ReplicaId(7);

    fn board(beat: u64) -> Board {
        let other = Replica { id: OTHER, name: "other".into(), urls: Vec::new(), beat };
        Board { cluster_id: 1, replicas: vec![other], heads: Vec::new() }
    }

    /// The first of these instants at which it is found silent.
    fn silent_at(looks: impl IntoIterator<Item = (u64, u64)>) -> Option<u64> {
        let mut silence = Silence::default();
        looks.into_iter().find_map(|(ms, beat)| {
            silence.look(&board(beat), Millis(ms), Millis(ms));
            silence.silent(OTHER).map(|_| ms)
        })
    }

    #[test]
    fn a_beat_that_stands_still_for_the_lease_and_a_margin_is_silence() {
        assert_eq!(silent_at((0..30).map(|n| (n * 100, 5))), Some(1_100));
        assert_eq!(silent_at((0..30).map(|n| (n * 100, n.min(4)))), Some(1_500));
        assert_eq!(silent_at((0..300).map(|n| (n * 100, n / 5))), None);
    }

    #[test]
    fn whoever_did_not_look_for_a_while_starts_again() {
        let before = (0..10).map(|n| (n * 100, 5));
        let after = (0..30).map(|n| (60_000 + n * 100, 5));
        assert_eq!(silent_at(before.chain(after)), Some(61_100));
    }

    #[test]
    fn only_who_was_seen_to_move_is_alive_and_silence_ends_that() {
        let mut silence = Silence::default();
        silence.look(&board(5), Millis(0), Millis(0));
        assert_eq!(silence.alive(OTHER), None);
        silence.look(&board(6), Millis(200), Millis(250));
        silence.look(&board(7), Millis(400), Millis(450));
        assert_eq!(silence.alive(OTHER), Some(Millis(250)));
        for ms in (500..2_000).step_by(100) {
            silence.look(&board(7), Millis(ms), Millis(ms));
        }
        assert_eq!((silence.alive(OTHER), silence.silent(OTHER)), (None, Some(Some(7))));
        silence.look(&board(8), Millis(2_000), Millis(2_000));
        assert_eq!((silence.alive(OTHER), silence.silent(OTHER)), (Some(Millis(2_000)), None));
    }

    #[test]
    fn an_epoch_has_stood_once_every_lease_before_it_is_over() {
        let keyspace = KeyspaceName::default();
        let mut silence = Silence::default();
        let mut stood = |ms, epoch| {
            let head = Head {
                keyspace: KeyspaceName::default(),
                epoch: Epoch(epoch),
                leader: Some(OTHER),
                seq: Seq(0),
                revision: Revision(1),
            };
            let board = Board { heads: vec![head], ..board(1) };
            silence.look(&board, Millis(ms), Millis(ms));
            silence.has_stood(&keyspace)
        };
        let first = (0..2_000).step_by(100).find(|ms| stood(*ms, 1));
        assert_eq!(first, Some(1_100));
        let second = (2_000..4_000).step_by(100).find(|ms| stood(*ms, 2));
        assert_eq!(second, Some(3_100));
    }

    /// Beats sent at random, written at random times after, looks that begin and
    /// end at random: whenever somebody is found silent, every lease that rests
    /// on a beat that was written by then has run out.
    #[test]
    fn silence_is_never_found_within_a_lease_that_was_written_when_we_looked() {
        for seed in 0..500 {
            let mut random = Random::seeded(seed);
            let mut sent = Vec::new();
            let mut at = 0;
            while at < 20_000 {
                let pause_max = if random.below(4) == 0 { 4_000 } else { 400 };
                at += 50 + random.below(pause_max);
                sent.push((at, at + random.below(600)));
            }
            let mut silence = Silence::default();
            let mut at = 0;
            while at < 20_000 {
                let began = at + random.below(450);
                let read = began + random.below(30);
                let ended = read + random.below(30);
                let written = sent.iter().filter(|(_, written)| *written <= read);
                let (beats, lease) = written.fold((0, 0), |(beats, lease), (sent, _)| {
                    (beats + 1, lease.max(sent + LEASE_MS))
                });
                silence.look(&board(beats), Millis(began), Millis(ended));
                if silence.silent(OTHER).is_some() {
                    assert!(lease < began, "seed {seed}: silent at {began}, lease to {lease}");
                }
                at = ended;
            }
        }
    }
}
