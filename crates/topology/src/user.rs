//! User ids and the shard function.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Bucket;

/// A user's id: 3 to 32 ASCII digits, as in LDC.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user id {0:?} is not 3 to 32 digits")]
pub struct UserIdError(String);

// === impl UserId ===

impl UserId {
    pub const LEN_MIN: usize = 3;
    pub const LEN_MAX: usize = 32;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The default shard function: LDC's two digits (the third and the second
    /// from the end, read in that order) times 100, plus FNV-1a (64 bit) of the
    /// whole id modulo 100. User 2088001234 has LDC shard 23, so its bucket is
    /// one of 2300 to 2399.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        let bytes = self.0.as_bytes();
        let digit = |from_end: usize| u16::from(bytes[bytes.len() - from_end] - b'0');
        let ldc = digit(3) * 10 + digit(2);
        let spread = (fnv1a(bytes) % 100) as u16;
        Bucket::new(ldc * 100 + spread).expect("two digits and a remainder stay below 10,000")
    }
}

impl FromStr for UserId {
    type Err = UserIdError;
    fn from_str(text: &str) -> Result<UserId, UserIdError> {
        let fits = (UserId::LEN_MIN..=UserId::LEN_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(UserId(text.into()))
        } else {
            Err(UserIdError(text.chars().take(UserId::LEN_MAX + 1).collect()))
        }
    }
}

impl TryFrom<String> for UserId {
    type Error = UserIdError;
    fn try_from(text: String) -> Result<UserId, UserIdError> {
        text.parse()
    }
}

impl From<UserId> for String {
    fn from(user: UserId) -> String {
        user.0.as_ref().into()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// FNV-1a, 64 bit (RFC 9923).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_is_the_third_and_second_digit_from_the_end() {
        for (id, ldc) in [("2088001234", 23), ("100", 10), ("999", 99), ("0005", 0)] {
            let user: UserId = id.parse().expect("digits");
            assert_eq!(user.bucket().number() / 100, ldc, "{id}");
        }
    }

    #[test]
    fn the_hash_spreads_the_users_of_one_shard_over_its_buckets() {
        let buckets: std::collections::BTreeSet<_> = (0..5000_u64)
            .map(|n| format!("{n}230").parse::<UserId>().expect("digits").bucket())
            .collect();
        assert_eq!(buckets.len(), 100);
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "12", "12a4", "１２３", &"1".repeat(33)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
