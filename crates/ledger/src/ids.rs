//! Who and what a payment names: merchants, idempotency keys, payment ids,
//! marks.

use std::{fmt, str::FromStr, sync::Arc};

use topology::UserId;

use crate::Error;

/// Longest idempotency key and merchant name.
const WORD_LEN_MAX: usize = 64;

/// Longest mark; it is copied into every payment of its account.
const MARK_LEN_MAX: usize = 32;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $what:literal, $lens:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<$name, Error> {
                if $lens.contains(&text.len()) && text.bytes().all(is_word_byte) {
                    Ok($name(text.into()))
                } else {
                    Err(Error::Word { what: $what, lens: $lens })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

word!(
    /// Who is paid.
    Merchant, "merchant", 1..=WORD_LEN_MAX
);
word!(
    /// What makes a retry the same payment; unique within its payer.
    IdempotencyKey, "Idempotency-Key", 1..=WORD_LEN_MAX
);
word!(
    /// A label that accounts of one origin share, such as one load run's; empty
    /// for everyone else.
    Mark, "mark", 0..=MARK_LEN_MAX
);

/// `UID.KEY`: every path that names a payment carries the user, so that it can
/// be routed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PaymentId {
    pub payer: UserId,
    pub key: IdempotencyKey,
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

// === impl Mark ===

impl Mark {
    #[must_use]
    pub fn none() -> Mark {
        Mark("".into())
    }
}

// === impl PaymentId ===

impl FromStr for PaymentId {
    type Err = Error;
    fn from_str(text: &str) -> Result<PaymentId, Error> {
        let (payer, key) = text.split_once('.').ok_or(Error::PaymentId)?;
        Ok(PaymentId { payer: payer.parse().map_err(Error::UserId)?, key: key.parse()? })
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.payer, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_id_is_its_payer_and_key() {
        let id: PaymentId = "2088001234.order-7_A".parse().expect("an id");
        assert_eq!((id.payer.as_str(), id.key.as_str()), ("2088001234", "order-7_A"));
        assert_eq!(id.to_string(), "2088001234.order-7_A");
        for bad in ["2088001234", "12.k", "2088001234.", "2088001234.a.b", "2088001234.a b"] {
            assert!(bad.parse::<PaymentId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_bounded() {
        assert!("a".repeat(64).parse::<Merchant>().is_ok());
        assert!("a".repeat(65).parse::<Merchant>().is_err());
        assert!("".parse::<IdempotencyKey>().is_err());
        assert!("".parse::<Mark>().is_ok());
        assert!("店".parse::<Merchant>().is_err());
    }
}
