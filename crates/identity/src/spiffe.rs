//! SPIFFE ids of the form we issue.

use std::{fmt, str::FromStr};

/// `spiffe://TRUST/unit/UNIT/ns/NS/sa/SA`. The unit is part of the identity so
/// that policies can name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    pub trust_domain: String,
    pub unit: String,
    pub namespace: String,
    pub service_account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form spiffe://TRUST/unit/UNIT/ns/NS/sa/SA")]
pub struct SpiffeIdError(String);

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpiffeId { trust_domain, unit, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/unit/{unit}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;
    fn from_str(text: &str) -> Result<SpiffeId, SpiffeIdError> {
        parse(text).ok_or_else(|| SpiffeIdError(text.chars().take(256).collect()))
    }
}

fn parse(text: &str) -> Option<SpiffeId> {
    let mut parts = text.strip_prefix("spiffe://")?.split('/');
    let mut segment = |expected: Option<&str>| {
        let part = parts.next().filter(|part| !part.is_empty())?;
        expected.is_none_or(|expected| expected == part).then(|| part.to_owned())
    };
    let trust_domain = segment(None)?;
    segment(Some("unit"))?;
    let unit = segment(None)?;
    segment(Some("ns"))?;
    let namespace = segment(None)?;
    segment(Some("sa"))?;
    let service_account = segment(None)?;
    parts.next().is_none().then_some(SpiffeId { trust_domain, unit, namespace, service_account })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written_and_nothing_else_is_one() {
        let text = "spiffe://polis.local/unit/rz01/ns/payments/sa/ledger";
        assert_eq!(text.parse::<SpiffeId>().expect("an id").to_string(), text);
        for bad in [
            "",
            "https://polis.local/unit/a/ns/b/sa/c",
            "spiffe://polis.local/ns/b/sa/c",
            "spiffe://polis.local/unit/a/ns/b/sa/c/more",
            "spiffe://polis.local/unit//ns/b/sa/c",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }
}
