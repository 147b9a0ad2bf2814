//! Names of keyspaces.

use std::{fmt, str::FromStr, sync::Arc};

use crate::Error;

/// 1 to 63 of `a-z0-9-`, starting and ending with a letter or digit: fit for a
/// file name, a metric label and a gRPC metadata value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceName(Arc<str>);

// === impl KeyspaceName ===

impl KeyspaceName {
    /// Longest name; a DNS label's bound.
    pub const LEN_MAX: usize = 63;
    /// The keyspace of callers that name none.
    pub const DEFAULT: &'static str = "default";

    /// Fails with [`Error::InvalidKeyspace`].
    pub fn new(name: &str) -> Result<KeyspaceName, Error> {
        let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        let bytes = name.as_bytes();
        let valid = bytes.len() <= Self::LEN_MAX
            && bytes.iter().copied().all(inner)
            && edge(bytes.first())
            && edge(bytes.last());
        match valid {
            true => Ok(KeyspaceName(name.into())),
            false => Err(Error::InvalidKeyspace(name.chars().take(Self::LEN_MAX + 1).collect())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyspaceName {
    fn default() -> KeyspaceName {
        KeyspaceName(Self::DEFAULT.into())
    }
}

impl FromStr for KeyspaceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<KeyspaceName, Error> {
        KeyspaceName::new(name)
    }
}

impl fmt::Display for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_lower_case_labels_name_a_keyspace() {
        let longest = "k".repeat(KeyspaceName::LEN_MAX);
        for good in ["default", "unit-rz01", "0", longest.as_str()] {
            assert_eq!(KeyspaceName::new(good).map(|name| name.to_string()), Ok(good.into()));
        }
        let long = "k".repeat(KeyspaceName::LEN_MAX + 1);
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "ä", long.as_str()] {
            assert!(KeyspaceName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
