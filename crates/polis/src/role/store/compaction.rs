//! etcd's flags for compacting by itself, and what they say of history.

use std::time::Duration;

use anyhow::{Context as _, bail};
use store::History;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// By age
    #[default]
    Periodic,
    /// By number of revisions
    Revision,
}

/// Either flag rules out our own bounds; as with etcd, a mode alone then means
/// that nothing is compacted.
pub fn history(mode: Option<Mode>, retention: Option<&str>) -> anyhow::Result<History> {
    if mode.is_none() && retention.is_none() {
        return Ok(History::default());
    }
    let text = retention.unwrap_or("0");
    let kept = kept(mode.unwrap_or_default(), text);
    kept.with_context(|| format!("--auto-compaction-retention {text:?}"))
}

fn kept(mode: Mode, text: &str) -> anyhow::Result<History> {
    let number = text.parse::<u64>();
    match (mode, number) {
        (_, Ok(0)) => Ok(History::UNLIMITED),
        (Mode::Revision, Ok(revisions_max)) => Ok(History { revisions_max, ..History::UNLIMITED }),
        (Mode::Revision, Err(_)) => bail!("write a number of revisions"),
        (Mode::Periodic, Ok(hours)) => {
            let age_max = Duration::from_secs(hours.saturating_mul(3600));
            Ok(History { age_max, ..History::UNLIMITED })
        }
        (Mode::Periodic, Err(_)) => match duration(text) {
            Some(age_max) if age_max.is_zero() => Ok(History::UNLIMITED),
            Some(age_max) => Ok(History { age_max, ..History::UNLIMITED }),
            None => bail!("write a number of hours, or a duration such as 1h30m or 90s"),
        },
    }
}

/// As Go writes durations: numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit_length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let ms = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(ms)?))?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_read_as_etcd_reads_it() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let aged = |age_max| History { age_max, ..History::UNLIMITED };
        let periodic = |text| kept(Mode::Periodic, text).ok();
        assert_eq!(periodic("1"), Some(aged(minutes(60))));
        assert_eq!(periodic("1h30m"), Some(aged(minutes(90))));
        assert_eq!(periodic("90s"), Some(aged(Duration::from_secs(90))));
        assert_eq!(periodic("0"), Some(History::UNLIMITED));
        assert_eq!(periodic("0s"), Some(History::UNLIMITED));
        for wrong in ["", "h", "1x", "-1", "1h3"] {
            assert_eq!(periodic(wrong), None, "{wrong}");
        }
        let by_revision = kept(Mode::Revision, "1000").ok();
        let expected = History { revisions_max: 1000, ..History::UNLIMITED };
        assert_eq!(by_revision, Some(expected));
        assert!(kept(Mode::Revision, "1h").is_err());
    }
}
