//! Shuffle sharding: which queues of a level a flow may use.
//!
//! A flow's hash deals it a hand of different queues, and each of its requests
//! waits in the shortest of these. Two flows share a queue often and all queues
//! nearly never, so that one that floods its own leaves others a free one.

/// A level's queues and hands are such that dealing takes no more bits than
/// this of a hash, as in Kubernetes: the last card would not be even otherwise.
pub const HASH_BITS_MAX: u32 = 60;

/// Follows from [`HASH_BITS_MAX`]: 15 of 16 are 60 bits.
pub const HAND_MAX: usize = 15;

/// Different queues, by their numbers.
pub struct Hand {
    cards: [usize; HAND_MAX],
    len: usize,
}

/// Bits of a hash that dealing `hand` of `deck` takes, a little more at most.
pub fn bits(deck: usize, hand: usize) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let bits = ((deck.max(1) as f64).log2() * hand as f64).ceil() as u32;
    bits
}

/// `hand` different cards of `deck`. Both are at least one, a hand is no larger
/// than the deck and than [`HAND_MAX`].
pub fn deal(mut hash: u64, deck: usize, hand: usize) -> Hand {
    let mut cards = [0; HAND_MAX];
    let len = hand.min(HAND_MAX).min(deck);
    for at in 0..len {
        let left = (deck - at) as u64;
        // Among the cards that are left, in their order.
        let mut card = usize::try_from(hash % left).expect("below the deck's size");
        hash /= left;
        // Into the place among the cards dealt so far, which are kept sorted.
        let mut place = 0;
        while place < at && card >= cards[place] {
            card += 1;
            place += 1;
        }
        cards.copy_within(place..at, place + 1);
        cards[place] = card;
    }
    Hand { cards, len }
}

// === impl Hand ===

impl Hand {
    /// All of them, beginning with the one at `turn`: whoever takes the first
    /// of equals does not always take the same.
    pub fn from(&self, turn: usize) -> impl Iterator<Item = usize> + '_ {
        let len = self.len;
        (0..len).map(move |at| self.cards[(turn + at) % len])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_hand_has_different_cards_of_the_deck_and_the_same_for_the_same_hash() {
        for (deck, hand) in [(1, 1), (2, 2), (16, 4), (16, 15), (64, 6), (128, 6), (8192, 4)] {
            assert!(bits(deck, hand) <= HASH_BITS_MAX, "{deck} {hand}");
            for seed in 0..200_u64 {
                let hash = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let cards: Vec<usize> = deal(hash, deck, hand).from(0).collect();
                let different: BTreeSet<usize> = cards.iter().copied().collect();
                assert_eq!((different.len(), cards.len()), (hand, hand));
                assert!(different.iter().all(|card| *card < deck));
                let turned: BTreeSet<usize> = deal(hash, deck, hand).from(7).collect();
                assert_eq!(turned, different);
            }
        }
        assert!(bits(128, 9) > HASH_BITS_MAX);
    }

    #[test]
    fn every_hand_is_as_likely_as_any_other() {
        let mut seen = std::collections::BTreeMap::<Vec<usize>, usize>::new();
        // All remainders of 5 · 4 once, six times over.
        for hash in 0..120 {
            let mut cards: Vec<usize> = deal(hash, 5, 2).from(0).collect();
            cards.sort_unstable();
            *seen.entry(cards).or_default() += 1;
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|times| *times == 12), "{seen:?}");
    }
}
