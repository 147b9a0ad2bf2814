//! What can go wrong, whose fault it is, and what it says about the books.
//!
//! Every variant but [`Error::OutcomeUnknown`] means: nothing was changed.

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc};

use errors::Code;
use http::StatusCode;
use topology::{Bucket, Extent, UserId, UserIdError};

use crate::{Balance, Currency, PaymentId, fence::Fence};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    // The request
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    UserId(UserIdError),
    #[error(
        "{what} must be {} to {} of A-Z, a-z, 0-9, '_' and '-'",
        lens.start(),
        lens.end()
    )]
    Word { what: &'static str, lens: RangeInclusive<usize> },
    #[error("a payment id is UID.KEY")]
    PaymentId,
    #[error("{0}")]
    Shard(topology::ShardSetError),
    #[error("the amount must be from 1 to {}", crate::Amount::MAX)]
    Amount,
    #[error("an opening balance must be from 0 to {max}")]
    Opening { max: u64 },
    #[error("a currency is three capital letters")]
    Currency,
    #[error("the header Idempotency-Key is missing")]
    NoKey,
    #[error("the header polis-uid says {header}, the request is about {user}")]
    WrongUser { header: String, user: UserId },
    #[error("{0}")]
    Stamp(String),
    #[error("{0}")]
    Peer(&'static str),
    #[error("nothing at this path")]
    NoPath,
    #[error("this path takes {allow}")]
    Method { allow: &'static str },
    #[error("the body is larger than {max} bytes")]
    TooLarge { max: usize },
    // The books
    #[error("user {user} has no account")]
    UnknownAccount { user: UserId },
    #[error("payment {id} has not been seen, which is not final")]
    PaymentNotSeen { id: PaymentId },
    #[error("payment {id} was made with another merchant, amount or currency")]
    KeyReused { id: PaymentId },
    #[error("payment {id} was made more than 7 days ago; GET it to see it")]
    KeyExpired { id: PaymentId },
    #[error("payment {id} was cancelled")]
    PaymentCancelled { id: PaymentId },
    #[error("the account holds {}", balance.minor())]
    InsufficientFunds { balance: Balance },
    #[error("the account is in {account}")]
    CurrencyMismatch { account: Currency },
    #[error("user {user} has an account with other terms")]
    AccountExists { user: UserId },
    #[error("a total would pass {}", Balance::MAX)]
    BalanceLimit,
    // The place
    #[error("bucket {bucket} is not ours as routed: {}", owner(fence.as_ref()))]
    Misdirected { bucket: Bucket, fence: Option<Fence> },
    #[error("bucket {bucket} is being handed over")]
    Moving { bucket: Bucket, fence: Fence },
    /// The cookie that it was routed by is of before a split, or does not tell the
    /// parts of a shard apart.
    #[error("bucket {bucket} is none of {}, which shard {} has", routed.buckets, routed.shard)]
    OtherPart { bucket: Bucket, routed: Extent },
    // The database
    #[error("the outcome is not known; retry with the same key, or POST :resolve")]
    OutcomeUnknown,
    #[error("database: {0}")]
    Store(kv::Error),
    #[error(transparent)]
    Database(Arc<engine::Error>),
    #[error("too many requests are under way")]
    Busy,
    #[error("the deadline passed before anything was sent")]
    Deadline,
    #[error("the rows kept changing")]
    Contention,
    #[error("a {row} row has format {format}, which is newer than this release")]
    RowNewer { row: &'static str, format: u8 },
    #[error("a {row} row cannot be read")]
    RowUnreadable { row: &'static str },
    // The service
    #[error("listen on {address}")]
    Listen { address: SocketAddr, source: Arc<std::io::Error> },
}

fn owner(fence: Option<&Fence>) -> String {
    match fence {
        Some(Fence { epoch, unit }) => format!("{unit} raised its fence at epoch {epoch}"),
        None => "no unit has raised its fence".into(),
    }
}

// === impl Error ===

/// Told whole in our own words, so it is not our source too.
impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Error {
        Error::Store(error)
    }
}

impl Error {
    /// The store answered something that no store may answer.
    pub fn store(what: &str) -> Error {
        Error::Store(kv::Error::Other(format!("polis: {what}")))
    }

    /// A write of the database that ended so certainly did not happen.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Error::OutcomeUnknown => false,
            Error::Store(error) => error.is_definite(),
            _ => true,
        }
    }

    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::Request(_) => errors::LEDGER_REQUEST,
            Error::Word { what: "Idempotency-Key", .. } | Error::NoKey => errors::LEDGER_KEY,
            Error::UserId(_) | Error::Word { .. } | Error::PaymentId | Error::Shard(_) => {
                errors::LEDGER_ID
            }
            Error::Amount | Error::Opening { .. } | Error::Currency => errors::LEDGER_AMOUNT,
            Error::WrongUser { .. } => errors::LEDGER_WRONG_USER,
            Error::Stamp(_) => errors::LEDGER_STAMP,
            Error::Peer(_) => errors::LEDGER_PEER,
            Error::NoPath => errors::LEDGER_NO_PATH,
            Error::Method { .. } => errors::LEDGER_METHOD,
            Error::TooLarge { .. } => errors::LEDGER_TOO_LARGE,
            Error::UnknownAccount { .. } => errors::LEDGER_NO_ACCOUNT,
            Error::PaymentNotSeen { .. } => errors::LEDGER_NOT_SEEN,
            Error::KeyReused { .. } => errors::LEDGER_KEY_REUSED,
            Error::KeyExpired { .. } => errors::LEDGER_KEY_EXPIRED,
            Error::PaymentCancelled { .. } => errors::LEDGER_CANCELLED,
            Error::InsufficientFunds { .. } => errors::LEDGER_FUNDS,
            Error::CurrencyMismatch { .. } => errors::LEDGER_CURRENCY,
            Error::AccountExists { .. } => errors::LEDGER_ACCOUNT_EXISTS,
            Error::BalanceLimit => errors::LEDGER_LIMIT,
            Error::Misdirected { .. } | Error::OtherPart { .. } => errors::LEDGER_MISDIRECTED,
            Error::Moving { .. } => errors::LEDGER_MOVING,
            Error::OutcomeUnknown => errors::LEDGER_UNKNOWN,
            Error::Store(_) => errors::LEDGER_STORE,
            Error::Database(error) => error.code().unwrap_or(errors::LEDGER_STORE),
            Error::Busy => errors::LEDGER_BUSY,
            Error::Deadline => errors::LEDGER_DEADLINE,
            Error::Contention => errors::LEDGER_CONTENTION,
            Error::RowNewer { .. } | Error::RowUnreadable { .. } => errors::LEDGER_ROW,
            Error::Listen { .. } => errors::LEDGER_LISTEN,
        }
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Error::Request(_)
            | Error::UserId(_)
            | Error::Word { .. }
            | Error::PaymentId
            | Error::Shard(_)
            | Error::Amount
            | Error::Opening { .. }
            | Error::Currency
            | Error::NoKey
            | Error::WrongUser { .. }
            | Error::Stamp(_) => StatusCode::BAD_REQUEST,
            Error::Peer(_) => StatusCode::FORBIDDEN,
            Error::NoPath | Error::UnknownAccount { .. } | Error::PaymentNotSeen { .. } => {
                StatusCode::NOT_FOUND
            }
            Error::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::KeyReused { .. }
            | Error::KeyExpired { .. }
            | Error::PaymentCancelled { .. }
            | Error::AccountExists { .. } => StatusCode::CONFLICT,
            Error::InsufficientFunds { .. }
            | Error::CurrencyMismatch { .. }
            | Error::BalanceLimit => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Misdirected { .. } | Error::OtherPart { .. } | Error::Moving { .. } => {
                StatusCode::MISDIRECTED_REQUEST
            }
            Error::OutcomeUnknown
            | Error::Store(_)
            | Error::Database(_)
            | Error::Busy
            | Error::Deadline
            | Error::Contention => StatusCode::SERVICE_UNAVAILABLE,
            Error::RowNewer { .. } | Error::RowUnreadable { .. } | Error::Listen { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The bucket's fence, where that is the reason.
    pub fn fence(&self) -> Option<(Bucket, &Fence)> {
        match self {
            Error::Misdirected { bucket, fence: Some(fence) } | Error::Moving { bucket, fence } => {
                Some((*bucket, fence))
            }
            _ => None,
        }
    }
}
