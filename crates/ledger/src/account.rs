//! A user's account, and what a payment takes from it.

use bytes::Bytes;

use crate::{
    Amount, Balance, Currency, Error, Mark,
    codec::{Reader, Writer},
    wall::UnixMillis,
};
use topology::{Epoch, UnitName};

/// Counts the entries of one account: entry N made version N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// Who executed something, under which epoch, and when by its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub unit: UnitName,
    pub epoch: Epoch,
    pub at: UnixMillis,
}

/// One side of a movement: what the account held after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    pub balance: Balance,
    pub version: Version,
}

/// Never negative: an overdraft is refused, not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub currency: Currency,
    pub balance: Balance,
    pub version: Version,
    pub mark: Mark,
    pub opening: Opening,
}

/// The account's first entry, kept in the account since there is exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub amount: Balance,
    /// The other side: the equity account of the bucket.
    pub equity: Leg,
    pub by: Executed,
}

/// Why an account cannot pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotPay {
    Currency { account: Currency },
    Funds { balance: Balance },
}

// === impl Version ===

impl Version {
    pub const FIRST: Version = Version(1);

    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

// === impl Executed ===

impl Executed {
    pub fn write(&self, writer: Writer) -> Writer {
        writer.text(self.unit.as_str()).number(self.epoch.0).number(self.at.0)
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Executed, Error> {
        Ok(Executed {
            unit: reader.word()?,
            epoch: Epoch(reader.number()?),
            at: UnixMillis(reader.number()?),
        })
    }
}

// === impl Leg ===

impl Leg {
    pub fn write(&self, writer: Writer) -> Writer {
        writer.number(self.balance.minor()).number(self.version.0)
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Leg, Error> {
        Ok(Leg { balance: read_balance(reader)?, version: Version(reader.number()?) })
    }
}

pub fn read_balance(reader: &mut Reader<'_>) -> Result<Balance, Error> {
    Balance::new(reader.number()?).ok_or_else(|| reader.unreadable())
}

// === impl Account ===

impl Account {
    pub fn open(currency: Currency, mark: Mark, opening: Opening) -> Account {
        let balance = opening.amount;
        Account { currency, balance, version: Version::FIRST, mark, opening }
    }

    /// Takes `amount`; the account is unchanged when it cannot.
    pub fn debit(&mut self, amount: Amount, currency: Currency) -> Result<Leg, CannotPay> {
        if currency != self.currency {
            return Err(CannotPay::Currency { account: self.currency });
        }
        let balance = self.balance.minus(amount.minor());
        self.balance = balance.ok_or(CannotPay::Funds { balance: self.balance })?;
        self.version = self.version.next();
        Ok(Leg { balance: self.balance, version: self.version })
    }

    pub fn encode(&self) -> Bytes {
        let writer = Writer::new()
            .text(self.currency.as_str())
            .number(self.balance.minor())
            .number(self.version.0)
            .text(self.mark.as_str())
            .number(self.opening.amount.minor());
        self.opening.by.write(self.opening.equity.write(writer)).done()
    }

    pub fn decode(bytes: &[u8]) -> Result<Account, Error> {
        let mut reader = Reader::new("account", bytes)?;
        let account = Account {
            currency: reader.word()?,
            balance: read_balance(&mut reader)?,
            version: Version(reader.number()?),
            mark: reader.word()?,
            opening: Opening {
                amount: read_balance(&mut reader)?,
                equity: Leg::read(&mut reader)?,
                by: Executed::read(&mut reader)?,
            },
        };
        reader.done()?;
        Ok(account)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn account(balance: u64) -> Account {
        let balance = Balance::new(balance).expect("a balance");
        let by = Executed {
            unit: "rz01".parse().expect("a name"),
            epoch: Epoch(1),
            at: UnixMillis(1_700_000_000_000),
        };
        let equity = Leg { balance, version: Version::FIRST };
        let opening = Opening { amount: balance, equity, by };
        Account::open("CNY".parse().expect("a currency"), Mark::none(), opening)
    }

    #[test]
    fn a_debit_never_overdraws_and_a_refused_one_changes_nothing() {
        let cny = "CNY".parse().expect("a currency");
        let amount = |minor| Amount::new(minor).expect("an amount");
        let mut account = account(100);
        let leg = account.debit(amount(60), cny).expect("enough");
        assert_eq!((leg.balance.minor(), leg.version), (40, Version(2)));
        let before = account.clone();
        let refused = account.debit(amount(41), cny);
        assert_eq!(refused, Err(CannotPay::Funds { balance: before.balance }));
        assert!(account.debit(amount(1), "EUR".parse().expect("a currency")).is_err());
        assert_eq!(account, before);
    }

    #[test]
    fn an_account_reads_back_as_written() {
        let account = account(7);
        assert_eq!(Account::decode(&account.encode()).expect("readable"), account);
    }
}
