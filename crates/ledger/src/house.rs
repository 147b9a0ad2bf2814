//! The bank's own side of every movement: what a merchant is owed, and what
//! opening balances were issued from.
//!
//! One row per bucket, so that a movement stays inside its bucket's transaction
//! and a popular merchant is ten thousand rows instead of one.

use bytes::Bytes;

use crate::{
    Balance, Error,
    account::{Leg, Version, read_balance},
    codec::{Reader, Writer},
};

/// A running total with one sign: clearing accounts are only credited, equity
/// is only debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct House {
    pub total: Balance,
    pub version: Version,
}

// === impl House ===

impl House {
    pub const EMPTY: House = House { total: Balance::ZERO, version: Version(0) };

    /// Adds `minor`; none when the total would pass [`Balance::MAX`].
    pub fn add(&mut self, minor: u64) -> Option<Leg> {
        self.total = self.total.plus(minor)?;
        self.version = self.version.next();
        Some(Leg { balance: self.total, version: self.version })
    }

    pub fn encode(&self) -> Bytes {
        Writer::new().number(self.total.minor()).number(self.version.0).done()
    }

    pub fn decode(bytes: &[u8]) -> Result<House, Error> {
        let mut reader = Reader::new("house", bytes)?;
        let house = House { total: read_balance(&mut reader)?, version: Version(reader.number()?) };
        reader.done()?;
        Ok(house)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_cannot_grow_is_left_alone() {
        let full = Balance::new(Balance::MAX).expect("the most");
        let mut house = House { total: full, version: Version(3) };
        assert_eq!(house.add(1), None);
        assert_eq!(house, House { total: full, version: Version(3) });
        assert_eq!(House::decode(&house.encode()).expect("readable"), house);
    }
}
