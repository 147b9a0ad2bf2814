//! Resolving a payment whose outcome a client does not know.
//!
//! Looking is not enough: "not there" is not final while a copy of the request
//! may wait somewhere. So the key itself is spent, in the owner's fenced
//! transaction, unless the payment was made.

use topology::Bucket;

use crate::{
    Error, Mark, PaymentId,
    account::{Account, Executed},
    database::Row,
    payment::{Cancelled, Payment},
    place,
    transact::{Decision, Need, Operation},
};

pub struct Resolve(pub PaymentId);

const RECORD: usize = 0;
const ACCOUNT: usize = 1;

// === impl Resolve ===

impl Operation for Resolve {
    type Answer = Payment;

    fn bucket(&self) -> Bucket {
        self.0.payer.bucket()
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need { key: place::payment(&self.0), expect_absent: true },
            Need { key: place::account(&self.0.payer), expect_absent: false },
        ]
    }

    fn decide(&self, rows: &[Row], by: Executed) -> Result<Decision<Payment>, Error> {
        if let Some(record) = &rows[RECORD].value {
            return Ok(Decision::Answer(Payment::decode(record)?));
        }
        let account = rows[ACCOUNT].value.as_deref().map(Account::decode).transpose()?;
        let mark = account.map_or_else(Mark::none, |account| account.mark);
        let payment = Payment::Cancelled(Cancelled { mark, by });
        Ok(Decision::Write { puts: vec![(RECORD, payment.encode())], answer: payment })
    }
}
