//! The wall clock, for what people read, and for how long a key is answered
//! again. Nothing is ordered by it, and no money depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixMillis(pub u64);

// === impl UnixMillis ===

impl UnixMillis {
    #[allow(clippy::disallowed_methods, reason = "stamps records for people to read")]
    pub fn now() -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long before `now` this was; zero where clocks disagree.
    pub fn age(self, now: UnixMillis) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0))
    }

    /// As in RFC 3339; empty for a time no calendar can show.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
        time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(UnixMillis(1_700_000_000_123).rfc3339(), "2023-11-14T22:13:20.123Z");
        assert_eq!(UnixMillis(u64::MAX).rfc3339(), "");
    }
}
