//! Money in integers of minor units (cents, fen), never in fractions.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::Error;

/// What one payment moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Amount(u64);

/// What an account holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Balance(u64);

/// Three letters of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

// === impl Amount ===

impl Amount {
    /// Ten thousand million in a currency with cents: above it, a typing error
    /// is likelier than a payment.
    pub const MAX: u64 = 1_000_000_000_000;

    pub fn new(minor: u64) -> Result<Amount, Error> {
        if (1..=Amount::MAX).contains(&minor) { Ok(Amount(minor)) } else { Err(Error::Amount) }
    }

    #[must_use]
    pub fn minor(self) -> u64 {
        self.0
    }
}

// === impl Balance ===

impl Balance {
    pub const ZERO: Balance = Balance(0);
    /// Fits a signed 64-bit number, which is what readers in other languages
    /// will use.
    pub const MAX: u64 = i64::MAX as u64;

    #[must_use]
    pub fn new(minor: u64) -> Option<Balance> {
        (minor <= Balance::MAX).then_some(Balance(minor))
    }

    #[must_use]
    pub fn minor(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, minor: u64) -> Option<Balance> {
        self.0.checked_add(minor).and_then(Balance::new)
    }

    #[must_use]
    pub fn minus(self, minor: u64) -> Option<Balance> {
        self.0.checked_sub(minor).map(Balance)
    }
}

// === impl Currency ===

impl Currency {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters, checked when made")
    }
}

impl FromStr for Currency {
    type Err = Error;
    fn from_str(text: &str) -> Result<Currency, Error> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Currency(letters)),
            _ => Err(Error::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_positive_and_bounded() {
        assert!(Amount::new(1).is_ok() && Amount::new(Amount::MAX).is_ok());
        assert!(Amount::new(0).is_err() && Amount::new(Amount::MAX + 1).is_err());
    }

    #[test]
    fn a_balance_never_wraps() {
        assert_eq!(Balance::default().minus(1), None);
        assert_eq!(Balance::new(Balance::MAX).and_then(|full| full.plus(1)), None);
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert!("CNY".parse::<Currency>().is_ok());
        for bad in ["cny", "CN", "CNYY", "元", ""] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }
}
