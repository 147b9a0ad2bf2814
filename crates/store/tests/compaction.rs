//! History goes by itself, by age.

mod common;

use std::time::Duration;

use common::{bench_at, config, within};
use kv::{Error, KeyRange, PutRequest, RangeRequest, Revision};
use rt::Clock;
use store::{Config, History};

const WINDOW: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_nobody_wrote_over_is_compacted_too_once_it_is_old() {
    let history = History { age_max: WINDOW, ..History::UNLIMITED };
    let bench = bench_at(Config { history, ..config() }, Clock::of_runtime()).await;
    for value in ["2", "3", "4"] {
        within(bench.kv.put(PutRequest::new("k", value))).await.expect("a put");
    }
    let read = |revision| {
        let key = RangeRequest::new(KeyRange::key("k"));
        let read = RangeRequest { revision: Some(Revision(revision)), ..key };
        within(bench.kv.range(read))
    };
    tokio::time::sleep(WINDOW - Duration::from_secs(1)).await;
    for revision in [2, 3, 4] {
        assert_eq!(read(revision).await.map(|range| range.kvs.len()), Ok(1), "it is young");
    }
    // Reads write nothing; a tenth of the window is how well ages are known.
    tokio::time::sleep(WINDOW / 5).await;
    for revision in [2, 3] {
        let refused = read(revision).await.expect_err("it is old");
        assert!(matches!(refused, Error::Compacted { .. }), "{refused:?}");
    }
    assert_eq!(read(4).await.map(|range| range.kvs.len()), Ok(1), "the newest stays");
}
