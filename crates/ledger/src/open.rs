//! Opening an account: its balance is issued from the bucket's equity, so that
//! even the first entry has two sides.

use topology::{Bucket, UserId};

use crate::{
    Balance, Currency, Error, Mark,
    account::{Account, Executed, Opening},
    database::Row,
    house::House,
    place,
    transact::{Decision, Need, Operation},
};

pub struct Open {
    pub user: UserId,
    pub currency: Currency,
    pub opening: Balance,
    pub mark: Mark,
}

/// An account that is there, and whether this request opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub account: Account,
    pub created: bool,
}

const ACCOUNT: usize = 0;
const EQUITY: usize = 1;

// === impl Open ===

impl Operation for Open {
    type Answer = Opened;

    fn bucket(&self) -> Bucket {
        self.user.bucket()
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need { key: place::account(&self.user), expect_absent: true },
            Need { key: place::equity(self.bucket(), self.currency), expect_absent: false },
        ]
    }

    fn decide(&self, rows: &[Row], by: Executed) -> Result<Decision<Opened>, Error> {
        if let Some(account) = &rows[ACCOUNT].value {
            let account = Account::decode(account)?;
            let same = account.currency == self.currency
                && account.opening.amount == self.opening
                && account.mark == self.mark;
            return match same {
                true => Ok(Decision::Answer(Opened { account, created: false })),
                false => Err(Error::AccountExists { user: self.user.clone() }),
            };
        }
        let equity = rows[EQUITY].value.as_deref().map(House::decode).transpose()?;
        let mut equity = equity.unwrap_or(House::EMPTY);
        let leg = equity.add(self.opening.minor()).ok_or(Error::BalanceLimit)?;
        let opening = Opening { amount: self.opening, equity: leg, by };
        let account = Account::open(self.currency, self.mark.clone(), opening);
        let puts = vec![(ACCOUNT, account.encode()), (EQUITY, equity.encode())];
        Ok(Decision::Write { puts, answer: Opened { account, created: true } })
    }
}
