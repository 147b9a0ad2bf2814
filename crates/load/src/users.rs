//! Payers, spread evenly over all shards.

use topology::{DEFAULT_SHARDS, UserId};

/// The `index`th payer: shard `index` modulo 100 by its third and second digit
/// from the end, so that a hundred in a row hit every shard once.
pub(crate) fn user(index: u32) -> UserId {
    let shards = u32::from(DEFAULT_SHARDS);
    let (round, shard) = (index / shards, index % shards);
    format!("2088{round:06}{shard:02}{}", round % 10).parse().expect("digits make a user id")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_shard_has_the_same_number_of_payers() {
        let mut payers = BTreeMap::new();
        for index in 0..1000 {
            *payers.entry(user(index).bucket().shard()).or_insert(0) += 1;
        }
        assert_eq!(payers.len(), usize::from(DEFAULT_SHARDS));
        assert!(payers.values().all(|count| *count == 10));
    }
}
