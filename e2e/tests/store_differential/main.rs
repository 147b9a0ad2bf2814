//! The store beside a real etcd: the same random requests to both, and the
//! answers compared field by field, errors with their codes and texts.

mod pair;
mod refused;
mod source;
mod watches;

use rt::random::Random;

use pair::{Call, Pair};
use source::Source;

/// Random requests in one run; `POLIS_DIFFERENTIAL` asks for more.
const REQUESTS: usize = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_random_requests_get_the_answers_that_etcd_gives() {
    let pair = Pair::start("differential").await;
    let asked = std::env::var("POLIS_DIFFERENTIAL").ok().and_then(|text| text.parse().ok());
    let seed = std::env::var("POLIS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut source = Source { random: Random::seeded(seed), revision: 1, compacted: 0 };
    let mut history = Vec::new();
    for _ in 0..asked.unwrap_or(REQUESTS) {
        let call = source.call();
        let revision = pair.agree(&call, &history).await;
        source.revision = source.revision.max(revision);
        if let (Call::Compact(compact), 1..) = (&call, revision) {
            source.compacted = compact.revision;
        }
        history.push(call);
    }
}
