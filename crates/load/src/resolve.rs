//! The final word on all that got no definite answer, for as long as there is
//! hope for one.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::{Outcome, Record, edge::Edges, payment};

/// Payments asked for at once.
const CONCURRENCY: usize = 32;

/// How long a service that gives no answers is asked.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For one payment.
    pub each: Duration,
    /// Without a final word on any.
    pub all: Duration,
}

impl Patience {
    /// A service that is back gives them within seconds, and one that has lost
    /// its database never.
    pub(crate) const DEFAULT: Patience =
        Patience { each: Duration::from_secs(60), all: Duration::from_secs(120) };
}

/// The records as they were resolved, or left open after `patience.each`. Those
/// that were not come to when `patience.all` was over are not among them.
pub(crate) fn resolve_all(
    edges: &Edges,
    unknown: Vec<Record>,
    start: Instant,
    patience: Patience,
) -> impl Stream<Item = Record> {
    let ask = move |record: Record| async move {
        payment::resolve(edges, &record, start, patience.each).await
    };
    let asked = Box::pin(stream::iter(unknown).map(ask).buffer_unordered(CONCURRENCY));
    let until = Instant::now() + patience.all;
    stream::unfold((asked, until), move |(mut asked, until)| async move {
        let record = timeout_at(until, asked.next()).await.ok().flatten()?;
        let open = record.outcome == Outcome::Unknown;
        let until = if open { until } else { Instant::now() + patience.all };
        Some((record, (asked, until)))
    })
}
