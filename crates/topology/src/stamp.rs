//! The stamp that every hop inside carries: `polis-shard: 42; unit=rz01;
//! epoch=17; hop=1`. Believed only from mesh identities.

use std::{fmt, str::FromStr};

use crate::{Epoch, Shard, UnitName};

/// Name of the header, and of the gRPC metadata key.
pub const STAMP_HEADER: &str = "polis-shard";

/// Forwards between units; one more is an error, since a request that wanders
/// further is following maps that disagree.
pub const HOPS_MAX: u8 = 2;

/// The routing decision of the previous hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub shard: Shard,
    pub unit: UnitName,
    pub epoch: Epoch,
    pub hop: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{STAMP_HEADER}: {0:?} is not of the form \"42; unit=rz01; epoch=17; hop=1\"")]
pub struct StampError(String);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { shard, unit, epoch, hop } = self;
        write!(f, "{shard}; unit={unit}; epoch={epoch}; hop={hop}")
    }
}

impl FromStr for Stamp {
    type Err = StampError;
    fn from_str(text: &str) -> Result<Stamp, StampError> {
        parse(text).ok_or_else(|| StampError(text.chars().take(128).collect()))
    }
}

fn parse(text: &str) -> Option<Stamp> {
    let mut parts = text.split(';').map(str::trim);
    let shard = parts.next()?.parse().ok()?;
    let unit = parts.next()?.strip_prefix("unit=")?.parse().ok()?;
    let epoch = Epoch(parts.next()?.strip_prefix("epoch=")?.parse().ok()?);
    let hop = parts.next()?.strip_prefix("hop=")?.parse().ok()?;
    parts.next().is_none().then_some(Stamp { shard, unit, epoch, hop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_as_written_and_nothing_else_is_one() {
        let text = "42; unit=rz01; epoch=17; hop=1";
        assert_eq!(text.parse::<Stamp>().expect("a stamp").to_string(), text);
        for bad in ["", "42", "42; unit=rz01; epoch=x; hop=1", "142; unit=a; epoch=1; hop=1"] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }
}
