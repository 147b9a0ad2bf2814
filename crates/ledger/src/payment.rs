//! A payment's record: both legs, or the word that it will never happen.
//!
//! The record holds every field of the request, so whether a retry is the same
//! payment is an exact comparison; there is no digest to collide. A record is
//! written once and never changed: corrections are new payments.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Amount, Currency, Error, Mark, Merchant, PaymentId,
    account::{Executed, Leg},
    codec::{Reader, Writer},
};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: PaymentId,
    pub merchant: Merchant,
    pub amount: Amount,
    pub currency: Currency,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payment {
    Committed(Committed),
    Cancelled(Cancelled),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub merchant: Merchant,
    pub amount: Amount,
    pub currency: Currency,
    /// The payer's account, debited.
    pub debit: Leg,
    /// The merchant's clearing account, credited.
    pub credit: Leg,
    /// The payer's mark.
    pub mark: Mark,
    pub by: Executed,
}

/// The key is spent: an execution that is still on its way will be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    pub mark: Mark,
    pub by: Executed,
}

/// How long a key is answered again with what it led to: a week, so that whoever
/// retries after a holiday is not told to look. After it the key is still spent,
/// since its payment is in the books for good; only the answer is another.
pub const KEY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

const COMMITTED: u64 = 1;
const CANCELLED: u64 = 2;

// === impl Payment ===

impl Payment {
    pub fn encode(&self) -> Bytes {
        match self {
            Payment::Committed(payment) => {
                let writer = Writer::new()
                    .number(COMMITTED)
                    .text(payment.mark.as_str())
                    .text(payment.merchant.as_str())
                    .number(payment.amount.minor())
                    .text(payment.currency.as_str());
                payment.by.write(payment.credit.write(payment.debit.write(writer))).done()
            }
            Payment::Cancelled(cancelled) => {
                let writer = Writer::new().number(CANCELLED).text(cancelled.mark.as_str());
                cancelled.by.write(writer).done()
            }
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Payment, Error> {
        let mut reader = Reader::new("payment", bytes)?;
        let (status, mark) = (reader.number()?, reader.word()?);
        let payment = match status {
            COMMITTED => Payment::Committed(Committed {
                mark,
                merchant: reader.word()?,
                amount: Amount::new(reader.number()?)?,
                currency: reader.word()?,
                debit: Leg::read(&mut reader)?,
                credit: Leg::read(&mut reader)?,
                by: Executed::read(&mut reader)?,
            }),
            CANCELLED => Payment::Cancelled(Cancelled { mark, by: Executed::read(&mut reader)? }),
            _ => return Err(reader.unreadable()),
        };
        reader.done()?;
        Ok(payment)
    }

    pub fn mark(&self) -> &Mark {
        match self {
            Payment::Committed(payment) => &payment.mark,
            Payment::Cancelled(cancelled) => &cancelled.mark,
        }
    }

    pub fn by(&self) -> &Executed {
        match self {
            Payment::Committed(payment) => &payment.by,
            Payment::Cancelled(cancelled) => &cancelled.by,
        }
    }
}

// === impl Committed ===

impl Committed {
    /// The same key may be used again only for the same payment.
    pub fn is_of(&self, order: &Order) -> bool {
        self.merchant == order.merchant
            && self.amount == order.amount
            && self.currency == order.currency
    }
}

#[cfg(test)]
pub mod tests {
    use topology::Epoch;

    use super::*;
    use crate::{Balance, account::Version, wall::UnixMillis};

    pub fn executed() -> Executed {
        let unit = "rz01".parse().expect("a name");
        Executed { unit, epoch: Epoch(3), at: UnixMillis(1_700_000_000_123) }
    }

    pub fn committed(amount: u64, debit: (u64, u64), credit: (u64, u64)) -> Committed {
        let leg = |(balance, version)| Leg {
            balance: Balance::new(balance).expect("a balance"),
            version: Version(version),
        };
        Committed {
            merchant: "tea".parse().expect("a merchant"),
            amount: Amount::new(amount).expect("an amount"),
            currency: "CNY".parse().expect("a currency"),
            debit: leg(debit),
            credit: leg(credit),
            mark: Mark::none(),
            by: executed(),
        }
    }

    #[test]
    fn a_record_reads_back_and_is_small() {
        let payment = Payment::Committed(committed(1250, (98_750, 2), (1250, 1)));
        let bytes = payment.encode();
        assert!(bytes.len() < 48, "{} bytes", bytes.len());
        assert_eq!(Payment::decode(&bytes).expect("readable"), payment);
        let cancelled = Payment::Cancelled(Cancelled { mark: Mark::none(), by: executed() });
        assert_eq!(Payment::decode(&cancelled.encode()).expect("readable"), cancelled);
    }
}
