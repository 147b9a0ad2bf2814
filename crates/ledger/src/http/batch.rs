//! `POST /v1/payments:batch`: many payments of one shard in one call.
//!
//! Each is a payment of its own, with its own key and its own outcome: some may
//! be made and others refused. Those of one bucket share commits, as those of
//! different calls do.
//!
//! A shard that is not ours any more is the outcome of the call and not of its
//! payments, as long as the call has made none: then whoever routes waits for the
//! shard and sends the call again.

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use topology::Bucket;

use super::{
    AnswerBody, Service,
    answer::{About, Failure, of_shard},
    payments::{PayBody, PaymentView},
    request::{Context, body},
};
use crate::{
    Error, PaymentId,
    pay::{Paid, Pay},
    payment::Order,
};

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
    let order = |(at, keyed): (usize, Keyed)| {
        keyed.order().map_err(|wrong| Error::Request(format!("payments[{at}]: {wrong}")))
    };
    let orders = asked.payments.into_iter().enumerate().map(order);
    let orders = orders.collect::<Result<Vec<Order>, Error>>()?;
    let books = service.books();
    let payers: Vec<Bucket> = orders.iter().map(|order| order.id.payer.bucket()).collect();
    let about = context.about_buckets(books, &payers).await?;
    let (routed, deadline) = (context.routed(), context.deadline);
    let paying = orders.into_iter().map(|order| async move {
        let id = order.id.clone();
        (id, books.execute(Pay(order), routed, deadline).await)
    });
    let ended = join_all(paying).await;
    if let Some(elsewhere) = elsewhere(&ended) {
        return Err(elsewhere);
    }
    let outcomes = ended.iter().map(|(id, ended)| Outcome::new(id, ended, about)).collect();
    Ok(of_shard(StatusCode::OK, &BatchAnswer { outcomes }, books, about))
}

/// Why the call belongs elsewhere, if it certainly has made nothing here.
fn elsewhere(ended: &[(PaymentId, Result<Paid, Error>)]) -> Option<Error> {
    let changed_nothing = ended.iter().all(|(_, ended)| match ended {
        Ok(paid) => paid.replayed,
        Err(error) => error.is_definite(),
    });
    let mut failed = ended.iter().filter_map(|(_, ended)| ended.as_ref().err());
    let moved = failed.find(|error| error.status() == StatusCode::MISDIRECTED_REQUEST);
    moved.filter(|_| changed_nothing).cloned()
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
    fn new(id: &PaymentId, ended: &Result<Paid, Error>, about: About) -> Outcome {
        match ended {
            Ok(paid) => {
                let status = if paid.replayed { StatusCode::OK } else { StatusCode::CREATED };
                let payment = Some(PaymentView::paid(id, paid, about));
                Outcome { status: status.as_u16(), payment, failure: None }
            }
            Err(error) => {
                let status = error.status().as_u16();
                Outcome { status, payment: None, failure: Some(Failure::new(error, Some(about))) }
            }
        }
    }
}
