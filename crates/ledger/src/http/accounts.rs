//! `/v1/accounts`.

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use serde::{Deserialize, Serialize};
use topology::UserId;

use super::{
    AnswerBody, Service,
    answer::{About, of_shard},
    payments::PaymentView,
    request::{Context, body, query},
};
use crate::{
    Balance, Error, Mark,
    account::{Account, Version},
    open::Open,
    read::ENTRIES_MAX,
};

/// Largest opening balance: real money comes by payments, this is a beginning.
const OPENING_MAX: u64 = 1_000_000_000_000_000;

/// Entries in an answer that names no limit.
const ENTRIES_DEFAULT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenBody {
    uid: String,
    currency: String,
    opening_balance: u64,
    #[serde(default)]
    mark: String,
}

#[derive(Serialize)]
struct AccountView {
    uid: String,
    currency: String,
    balance: u64,
    version: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    mark: String,
    opening_balance: u64,
    opened_at: String,
    shard: String,
    bucket: String,
}

#[derive(Serialize)]
struct StatementView {
    uid: String,
    currency: String,
    entries: Vec<EntryView>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
struct EntryView {
    version: u64,
    kind: &'static str,
    amount: u64,
    balance: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentView>,
}

pub async fn open<B>(
    service: &Service,
    context: &mut Context,
    request: Request<B>,
) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let asked: OpenBody = body(request, context.deadline).await?;
    let user: UserId = asked.uid.parse().map_err(Error::UserId)?;
    let mark: Mark = asked.mark.parse()?;
    let opening = Balance::new(asked.opening_balance)
        .filter(|opening| opening.minor() <= OPENING_MAX)
        .ok_or(Error::Opening { max: OPENING_MAX })?;
    let currency = asked.currency.parse()?;
    let books = service.books();
    let about = context.about(books, &user).await?;
    let open = Open { user: user.clone(), currency, opening, mark };
    let opened = books.execute(open, context.routed(), context.deadline).await?;
    let status = if opened.created { StatusCode::CREATED } else { StatusCode::OK };
    let view = AccountView::new(&user, &opened.account, about);
    Ok(of_shard(status, &view, books, about))
}

pub async fn show(
    service: &Service,
    context: &mut Context,
    user: &UserId,
) -> Result<Response<AnswerBody>, Error> {
    let books = service.books();
    let about = context.about(books, user).await?;
    let account = books.account(user, context.deadline).await?;
    let view = AccountView::new(user, &account, about);
    Ok(of_shard(StatusCode::OK, &view, books, about))
}

pub async fn entries(
    service: &Service,
    context: &mut Context,
    user: &UserId,
    uri: &Uri,
) -> Result<Response<AnswerBody>, Error> {
    let [limit, after] = query(uri, ["limit", "after"])?;
    let limit = number("limit", limit)?.unwrap_or(ENTRIES_DEFAULT as u64);
    let limit = usize::try_from(limit).unwrap_or(ENTRIES_MAX);
    let after = Version(number("after", after)?.unwrap_or(0));
    let books = service.books();
    let about = context.about(books, user).await?;
    let statement = books.statement(user, after, limit, context.deadline).await?;
    let account = &statement.account;
    let opening = statement.opening.then(|| EntryView {
        version: Version::FIRST.0,
        kind: "opening",
        amount: account.opening.amount.minor(),
        balance: account.opening.amount.minor(),
        payment: None,
    });
    let payments = statement.payments.iter().map(|(id, payment)| EntryView {
        version: payment.debit.version.0,
        kind: "debit",
        amount: payment.amount.minor(),
        balance: payment.debit.balance.minor(),
        payment: Some(PaymentView::committed(id, payment, about)),
    });
    let entries: Vec<EntryView> = opening.into_iter().chain(payments).collect();
    let next = entries.last().map(|entry| entry.version).filter(|_| statement.more);
    let currency = account.currency.to_string();
    let view = StatementView { uid: user.to_string(), currency, entries, next };
    Ok(of_shard(StatusCode::OK, &view, books, about))
}

fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, Error> {
    let wrong = |_| Error::Request(format!("{name} is a number"));
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

// === impl AccountView ===

impl AccountView {
    fn new(user: &UserId, account: &Account, about: About) -> AccountView {
        AccountView {
            uid: user.to_string(),
            currency: account.currency.to_string(),
            balance: account.balance.minor(),
            version: account.version.0,
            mark: account.mark.to_string(),
            opening_balance: account.opening.amount.minor(),
            opened_at: account.opening.by.at.rfc3339(),
            shard: about.shard().to_string(),
            bucket: user.bucket().to_string(),
        }
    }
}
