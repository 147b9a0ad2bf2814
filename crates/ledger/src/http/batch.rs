//! `POST /v1/payments:batch`: many payments of one shard in one call.
//!
//! Each is a payment of its own, with its own key and its own outcome: some may
//! be made and others refused. Those of one bucket share commits, as those of
//! different calls do.

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use topology::Shard;

use super::{
    AnswerBody, Service,
    answer::{Failure, of_shard},
    payments::{PayBody, PaymentView},
    request::{Context, body},
};
use crate::{Error, pay::Pay, payment::Order};

/// Payments of one call: they fit into the largest body.
const PAYMENTS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    payments: Vec<Keyed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyed {
    key: String,
    payer: String,
    merchant: String,
    amount: u64,
    currency: String,
}

#[derive(Serialize)]
struct BatchAnswer {
    /// In the order of the request.
    outcomes: Vec<Outcome>,
}

/// What the payment alone would have been answered with.
#[derive(Serialize)]
struct Outcome {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentView>,
    #[serde(flatten)]
    failure: Option<Failure>,
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
    let asked: BatchBody = body(request, context.deadline).await?;
    if !(1..=PAYMENTS_MAX).contains(&asked.payments.len()) {
        return Err(Error::Request(format!("a batch holds 1 to {PAYMENTS_MAX} payments")));
    }
    let orders = asked.payments.into_iter().map(Keyed::order);
    let orders = orders.collect::<Result<Vec<Order>, Error>>()?;
    let shard = one_shard(&orders)?;
    let books = service.books();
    context.about_shard(books, shard).await?;
    let (routed, deadline) = (context.routed(), context.deadline);
    let paying = orders.into_iter().map(|order| async move {
        let id = order.id.clone();
        match books.execute(Pay(order), routed, deadline).await {
            Ok(paid) => Outcome::paid(PaymentView::paid(&id, &paid), paid.replayed),
            Err(error) => Outcome::failed(&error),
        }
    });
    let outcomes = join_all(paying).await;
    Ok(of_shard(StatusCode::OK, &BatchAnswer { outcomes }, books, shard))
}

/// A call goes to one unit, so it is about one shard.
fn one_shard(orders: &[Order]) -> Result<Shard, Error> {
    let mut shards = orders.iter().map(|order| order.id.payer.bucket().shard());
    match shards.next() {
        Some(first) if shards.all(|shard| shard == first) => Ok(first),
        _ => Err(Error::Request("the payers of a batch are of one shard".to_owned())),
    }
}

// === impl Keyed ===

impl Keyed {
    fn order(self) -> Result<Order, Error> {
        let Keyed { key, payer, merchant, amount, currency } = self;
        PayBody { payer, merchant, amount, currency }.order(key.parse()?)
    }
}

// === impl Outcome ===

impl Outcome {
    fn paid(payment: PaymentView, replayed: bool) -> Outcome {
        let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
        Outcome { status: status.as_u16(), payment: Some(payment), failure: None }
    }

    fn failed(error: &Error) -> Outcome {
        let status = error.status().as_u16();
        Outcome { status, payment: None, failure: Some(Failure::new(error)) }
    }
}
