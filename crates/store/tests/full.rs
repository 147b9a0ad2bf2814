//! A store that holds as much as it may.

mod common;

use std::{path::PathBuf, sync::Arc};

use common::{config, within};
use engine::{Embedded, EmbeddedConfig};
use kv::{Error, KeyRange, Kv, PutRequest, RangeRequest};
use rt::Clock;
use store::{Config, Store};

const MIB: usize = 1024 * 1024;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_store_full_of_its_past_forgets_it_and_takes_puts_again() {
    let path = std::env::temp_dir().join(format!("polis-store-full-{}", std::process::id()));
    let folder = Folder(path);
    let engine = Embedded::open(EmbeddedConfig::new(&folder.0)).expect("it opens");
    // The journal's file alone is 64 MiB.
    let config = Config { quota_bytes: 88 * MIB as u64, ..config() };
    let store = Store::build_on(Arc::new(engine), config, Clock::real()).await.expect("built");
    let kv: Arc<dyn Kv> = store.handle("default").expect("a keyspace");
    // One key over and over: what is alive is a mebibyte, the rest is past.
    let put = |n: u8| kv.put(PutRequest::new("k", vec![n; MIB]));

    let mut n = 0;
    let refused = loop {
        n += 1;
        assert!(n < 200, "it never fills up");
        if let Err(error) = within(put(n)).await {
            break error;
        }
    };
    assert_eq!(refused, Error::NoSpace);
    within(async {
        while put(0).await == Err(Error::NoSpace) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let all = RangeRequest::new(KeyRange::prefix(""));
    assert_eq!(within(kv.range(all)).await.expect("a range").kvs[0].value, vec![0; MIB]);
}
