//! Who asks, and which unit each user belongs to.
//!
//! As in the field: a thousand users of whom every proxy has a table, half of
//! them in one unit and half in the other, told apart by the two digits that
//! make a user's shard.

use crate::proxy::plan::ProxyPlan;

pub(crate) const STAMP_HEADER: &str = "polis-stamp";
pub(crate) const STAMP: &str = "bench";
pub(crate) const USER_HEADER: &str = "polis-uid";

const USERS: u32 = 1000;
const FIRST: u32 = 2_088_000_000;

/// All ids are as long, so that requests differ in these bytes alone.
pub(crate) const USER_BYTES: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    A,
    B,
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub id: String,
    pub unit: Unit,
}

pub(crate) fn all() -> Vec<User> {
    (0..USERS).map(User::nth).collect()
}

/// How every answer, message and piece begins: where the request arrived, and
/// `+` if it was stamped.
pub(crate) const VERDICT_BYTES: usize = 2;

pub(crate) fn verdict(unit: Unit, stamped: bool) -> [u8; VERDICT_BYTES] {
    [unit.name().as_bytes()[0], if stamped { b'+' } else { b'-' }]
}

// === impl Unit ===

impl Unit {
    pub const ALL: [Unit; 2] = [Unit::A, Unit::B];

    pub fn name(self) -> &'static str {
        match self {
            Unit::A => "a",
            Unit::B => "b",
        }
    }
}

// === impl User ===

impl User {
    fn nth(n: u32) -> User {
        // The third and the second digit from the end.
        let shard = n % 100;
        let unit = if shard < 50 { Unit::A } else { Unit::B };
        User { id: (FIRST + n * 10).to_string(), unit }
    }
}

// === impl ProxyPlan ===

impl ProxyPlan {
    /// Room for what an answer begins with.
    pub const BYTES_MIN: usize = VERDICT_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_apart_by_their_shard_alone() {
        let users = all();
        assert!(users.iter().all(|user| user.id.len() == USER_BYTES));
        assert_eq!(users.iter().filter(|user| user.unit == Unit::A).count(), users.len() / 2);
        for user in users {
            let shard: u32 = user.id[7..9].parse().expect("digits");
            assert_eq!(user.unit == Unit::A, shard < 50, "{}", user.id);
        }
    }
}
