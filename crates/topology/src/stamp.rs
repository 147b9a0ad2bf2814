//! The stamp that every hop inside carries: `polis-shard: 42; unit=rz01;
//! epoch=17; hop=1`. Believed only from mesh identities.
//!
//! A shard that was split, or came by it, is stamped with the buckets it has by
//! the sender's map: `100; unit=rz01; epoch=17; hop=1; buckets=4250-4299`. So the
//! receiver needs no map of its own to see what the sender meant.

use std::{fmt, str::FromStr};

use crate::{Epoch, Extent, UnitName};

/// Name of the header, and of the gRPC metadata key.
pub const STAMP_HEADER: &str = "polis-shard";

/// Forwards between units; one more is an error, since a request that wanders
/// further is following maps that disagree.
pub const HOPS_MAX: u8 = 2;

/// The routing decision of the previous hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub extent: Extent,
    pub unit: UnitName,
    pub epoch: Epoch,
    pub hop: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{STAMP_HEADER}: {0:?} is not of the form \"42; unit=rz01; epoch=17; hop=1\"")]
pub struct StampError(String);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { extent, unit, epoch, hop } = self;
        write!(f, "{}; unit={unit}; epoch={epoch}; hop={hop}", extent.shard)?;
        extent.unusual().map_or(Ok(()), |buckets| write!(f, "; buckets={buckets}"))
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
    let buckets = match parts.next() {
        Some(part) => Some(part.strip_prefix("buckets=")?.parse().ok()?),
        None => None,
    };
    let extent = Extent::of(shard, buckets)?;
    parts.next().is_none().then_some(Stamp { extent, unit, epoch, hop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_as_written_and_nothing_else_is_one() {
        for text in [
            "42; unit=rz01; epoch=17; hop=1",
            "42; unit=rz01; epoch=17; hop=1; buckets=4200-4249",
            "100; unit=rz01; epoch=17; hop=1; buckets=4250-4299",
        ] {
            assert_eq!(text.parse::<Stamp>().expect("a stamp").to_string(), text);
        }
        for bad in [
            "",
            "42",
            "42; unit=rz01; epoch=x; hop=1",
            "100; unit=a; epoch=1; hop=1",
            "42; unit=a; epoch=1; hop=1; buckets=420-429",
            "42; unit=a; epoch=1; hop=1; buckets=4200-4249; x",
            "4200; unit=a; epoch=1; hop=1",
        ] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }
}
