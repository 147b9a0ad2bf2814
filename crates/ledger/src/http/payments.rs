//! `/v1/payments`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use topology::UserId;

use super::{
    AnswerBody, Service,
    answer::{About, of_shard},
    request::{Context, body, header},
};
use crate::{
    Amount, Error, IdempotencyKey, PaymentId,
    account::Leg,
    cancel::Resolve,
    pay::{Paid, Pay},
    payment::{Committed, Order, Payment},
};

const KEY_HEADER: &str = "idempotency-key";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayBody {
    pub payer: String,
    pub merchant: String,
    pub amount: u64,
    pub currency: String,
}

/// A payment as clients read it.
#[derive(Serialize)]
pub struct PaymentView {
    id: String,
    status: &'static str,
    payer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// Who executed it, which need not be who answers.
    unit: String,
    /// Which it is of now, by the map of who asks.
    shard: String,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_at: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// One side of a payment, for exports and statements.
#[derive(Serialize)]
pub struct LegView {
    pub balance: u64,
    pub version: u64,
}

pub async fn pay<B>(
    service: &Service,
    context: &mut Context,
    request: Request<B>,
) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let key = header(request.headers(), KEY_HEADER)?.ok_or(Error::NoKey)?.parse()?;
    let asked: PayBody = body(request, context.deadline).await?;
    let order = asked.order(key)?;
    let (books, id) = (service.books(), order.id.clone());
    let about = context.about(books, &id.payer).await?;
    let paid = books.execute(Pay(order), context.routed(), context.deadline).await?;
    let status = if paid.replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(of_shard(status, &PaymentView::paid(&id, &paid, about), books, about))
}

pub async fn show(
    service: &Service,
    context: &mut Context,
    id: &PaymentId,
) -> Result<Response<AnswerBody>, Error> {
    let books = service.books();
    let about = context.about(books, &id.payer).await?;
    let payment = books.payment(id, context.deadline).await?;
    let view = PaymentView::new(id, &payment, about);
    Ok(of_shard(StatusCode::OK, &view, books, about))
}

pub async fn resolve(
    service: &Service,
    context: &mut Context,
    id: PaymentId,
) -> Result<Response<AnswerBody>, Error> {
    let books = service.books();
    let about = context.about(books, &id.payer).await?;
    let payment = books.execute(Resolve(id.clone()), context.routed(), context.deadline).await?;
    let view = PaymentView::new(&id, &payment, about);
    Ok(of_shard(StatusCode::OK, &view, books, about))
}

// === impl PayBody ===

impl PayBody {
    pub fn order(self, key: IdempotencyKey) -> Result<Order, Error> {
        let payer: UserId = self.payer.parse().map_err(Error::UserId)?;
        Ok(Order {
            id: PaymentId { payer, key },
            merchant: self.merchant.parse()?,
            amount: Amount::new(self.amount)?,
            currency: self.currency.parse()?,
        })
    }
}

// === impl PaymentView ===

impl PaymentView {
    pub fn paid(id: &PaymentId, paid: &Paid, about: About) -> PaymentView {
        let view = PaymentView::committed(id, &paid.payment, about);
        PaymentView { replayed: paid.replayed, ..view }
    }

    pub fn new(id: &PaymentId, payment: &Payment, about: About) -> PaymentView {
        match payment {
            Payment::Committed(payment) => PaymentView::committed(id, payment, about),
            Payment::Cancelled(_) => {
                let at = payment.by().at.rfc3339();
                let bare = PaymentView::bare(id, payment.by(), about);
                PaymentView { cancelled_at: Some(at), ..bare }
            }
        }
    }

    pub fn committed(id: &PaymentId, payment: &Committed, about: About) -> PaymentView {
        PaymentView {
            status: "Committed",
            merchant: Some(payment.merchant.to_string()),
            amount: Some(payment.amount.minor()),
            currency: Some(payment.currency.to_string()),
            committed_at: Some(payment.by.at.rfc3339()),
            ..PaymentView::bare(id, &payment.by, about)
        }
    }

    fn bare(id: &PaymentId, by: &crate::account::Executed, about: About) -> PaymentView {
        PaymentView {
            id: id.to_string(),
            status: "Cancelled",
            payer: id.payer.to_string(),
            merchant: None,
            amount: None,
            currency: None,
            unit: by.unit.to_string(),
            shard: about.shard().to_string(),
            epoch: by.epoch.0,
            committed_at: None,
            cancelled_at: None,
            replayed: false,
        }
    }
}

// === impl LegView ===

impl From<Leg> for LegView {
    fn from(leg: Leg) -> LegView {
        LegView { balance: leg.balance.minor(), version: leg.version.0 }
    }
}
