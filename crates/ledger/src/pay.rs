//! A payment: the payer's account is debited, the merchant's clearing account
//! of the same bucket is credited, and the record says so under the key.

use bytes::Bytes;
use topology::Bucket;

use crate::{
    Error,
    account::{Account, CannotPay, Executed},
    database::Row,
    house::House,
    payment::{Committed, KEY_KEPT, Order, Payment},
    place,
    transact::{Decision, Need, Operation},
};

pub struct Pay(pub Order);

/// A payment that stands, and whether an earlier request made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    pub payment: Committed,
    pub replayed: bool,
}

const RECORD: usize = 0;
const ACCOUNT: usize = 1;
const CLEARING: usize = 2;

// === impl Pay ===

impl Operation for Pay {
    type Answer = Paid;

    fn bucket(&self) -> Bucket {
        self.0.id.payer.bucket()
    }

    fn needs(&self) -> Vec<Need> {
        let Order { id, merchant, currency, .. } = &self.0;
        vec![
            Need { key: place::payment(id), expect_absent: true },
            Need { key: place::account(&id.payer), expect_absent: false },
            Need { key: place::clearing(self.bucket(), merchant, *currency), expect_absent: false },
        ]
    }

    fn decide(&self, rows: &[Row], by: Executed) -> Result<Decision<Paid>, Error> {
        let order = &self.0;
        if let Some(record) = &rows[RECORD].value {
            return replay(order, record, &by).map(Decision::Answer);
        }
        let account = rows[ACCOUNT].value.as_ref();
        let account =
            account.ok_or_else(|| Error::UnknownAccount { user: order.id.payer.clone() })?;
        let mut account = Account::decode(account)?;
        let clearing = rows[CLEARING].value.as_deref().map(House::decode).transpose()?;
        let mut clearing = clearing.unwrap_or(House::EMPTY);

        let before = (account.balance.minor(), clearing.total.minor());
        let debit = account.debit(order.amount, order.currency).map_err(|why| match why {
            CannotPay::Currency { account } => Error::CurrencyMismatch { account },
            CannotPay::Funds { balance } => Error::InsufficientFunds { balance },
        })?;
        let credit = clearing.add(order.amount.minor()).ok_or(Error::BalanceLimit)?;
        let (taken, given) =
            (before.0 - account.balance.minor(), clearing.total.minor() - before.1);
        assert_eq!(taken, given, "what is debited is credited");
        let payment = Committed {
            merchant: order.merchant.clone(),
            amount: order.amount,
            currency: order.currency,
            debit,
            credit,
            mark: account.mark.clone(),
            by,
        };
        let record = Payment::Committed(payment.clone());
        let puts = vec![
            (RECORD, record.encode()),
            (ACCOUNT, account.encode()),
            (CLEARING, clearing.encode()),
        ];
        Ok(Decision::Write { puts, answer: Paid { payment, replayed: false } })
    }
}

fn replay(order: &Order, record: &Bytes, now: &Executed) -> Result<Paid, Error> {
    let payment = Payment::decode(record)?;
    let is_kept = payment.by().at.age(now.at) <= KEY_KEPT;
    match payment {
        Payment::Committed(payment) if payment.is_of(order) && is_kept => {
            Ok(Paid { payment, replayed: true })
        }
        Payment::Committed(payment) if payment.is_of(order) => {
            Err(Error::KeyExpired { id: order.id.clone() })
        }
        Payment::Committed(_) => Err(Error::KeyReused { id: order.id.clone() }),
        Payment::Cancelled(_) => Err(Error::PaymentCancelled { id: order.id.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use kv::Revision;
    use proptest::prelude::*;

    use super::*;
    use crate::{Amount, account::tests::account, payment::tests::executed, wall::UnixMillis};

    fn order(key: u8, amount: u64) -> Order {
        Order {
            id: format!("2088001234.k{key}").parse().expect("an id"),
            merchant: "tea".parse().expect("a merchant"),
            amount: Amount::new(amount).expect("an amount"),
            currency: "CNY".parse().expect("a currency"),
        }
    }

    #[test]
    fn a_key_is_answered_for_a_week_and_spent_for_good() {
        let rows = [None, Some(account(100).encode()), None];
        let rows = rows.map(|value| Row { value, modified: Revision::ZERO });
        let Ok(Decision::Write { puts, .. }) = Pay(order(1, 60)).decide(&rows, executed()) else {
            panic!("it can be paid");
        };
        let paid = |value: &Bytes| Row { value: Some(value.clone()), modified: Revision(1) };
        let rows = [paid(&puts[0].1), paid(&puts[1].1), paid(&puts[2].1)];
        let week = u64::try_from(KEY_KEPT.as_millis()).expect("it is short");
        let after = |millis: u64| {
            let at = UnixMillis(executed().at.0 + millis);
            Pay(order(1, 60)).decide(&rows, Executed { at, ..executed() })
        };
        assert!(matches!(after(week), Ok(Decision::Answer(paid)) if paid.replayed));
        assert!(matches!(after(week + 1), Err(Error::KeyExpired { .. })));
        let other = Executed { at: UnixMillis(u64::MAX), ..executed() };
        assert!(matches!(Pay(order(1, 61)).decide(&rows, other), Err(Error::KeyReused { .. })));
    }

    proptest! {
        /// A naive model beside the rules: balance, clearing total, and the set
        /// of keys that were applied.
        #[test]
        fn debits_equal_credits_no_overdraft_and_a_key_applies_once(
            opening in 0_u64..5_000,
            orders in prop::collection::vec((0_u8..12, 1_u64..2_000), 1..40),
        ) {
            let absent = Row { value: None, modified: Revision::ZERO };
            let mut balance = opening;
            let mut applied = std::collections::BTreeMap::<u8, u64>::new();
            let mut stored = vec![Row { value: Some(account(opening).encode()), ..absent.clone() }, absent.clone()];
            let mut records = std::collections::BTreeMap::<u8, Bytes>::new();
            for (key, amount) in orders {
                let record = Row { value: records.get(&key).cloned(), ..absent.clone() };
                let rows = [vec![record], stored.clone()].concat();
                match Pay(order(key, amount)).decide(&rows, executed()) {
                    Ok(Decision::Write { puts, answer }) => {
                        prop_assert!(!applied.contains_key(&key) && amount <= balance);
                        balance -= amount;
                        applied.insert(key, amount);
                        prop_assert_eq!(answer.payment.debit.balance.minor(), balance);
                        prop_assert_eq!(answer.payment.credit.balance.minor(), opening - balance);
                        for (index, value) in puts {
                            match index {
                                RECORD => { records.insert(key, value); }
                                index => stored[index - 1].value = Some(value),
                            }
                        }
                    }
                    Ok(Decision::Answer(paid)) => {
                        prop_assert!(paid.replayed);
                        prop_assert_eq!(applied.get(&key), Some(&amount));
                    }
                    Err(Error::KeyReused { .. }) => prop_assert!(applied.get(&key).is_some_and(|old| *old != amount)),
                    Err(Error::InsufficientFunds { .. }) => prop_assert!(amount > balance && !applied.contains_key(&key)),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            prop_assert_eq!(opening - balance, applied.values().sum::<u64>());
        }
    }
}
