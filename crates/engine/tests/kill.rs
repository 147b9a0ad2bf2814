//! Killed without warning, again and again: every acknowledged batch is there.

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use common::{Folder, batch, claim, commit, fold, name, put};
use engine::{Embedded, EmbeddedConfig, Engine, Seq};
use keyspace::Keyspace;
use kv::Revision;
use rt::Millis;

/// Set for the process that is to be killed: the folder it writes to.
const VICTIM: &str = "POLIS_ENGINE_TEST_VICTIM";
const KILLS: usize = 10;

#[test]
fn acknowledged_batches_survive_kills() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        write_until_killed(&folder);
    }
    let folder = Folder::new();
    let mut acknowledged = Seq(0);
    for kill in 0..KILLS {
        let before = acknowledged;
        let mut victim = Command::new(std::env::current_exe().expect("we run from a file"))
            .args(["--exact", "acknowledged_batches_survive_kills", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("we can run again");
        let lines = BufReader::new(victim.stdout.take().expect("it is piped")).lines();
        let numbers =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
        for (heard, seq) in numbers.map(Seq).enumerate() {
            assert!(seq > acknowledged);
            acknowledged = seq;
            // What was said before the kill and is still in the pipe counts too.
            if heard == 5 + 7 * kill {
                victim.kill().expect("it is ours");
            }
        }
        victim.wait().expect("it is ours");
        assert!(acknowledged > before, "the victim wrote something");
        check(&folder, acknowledged);
    }
}

fn write_until_killed(folder: &std::ffi::OsStr) -> ! {
    runtime().block_on(async {
        let engine = Embedded::open(EmbeddedConfig::new(folder)).expect("the folder opens");
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        let mut seq = engine.load(&ks).await.expect("it loads").seq;
        loop {
            seq = seq.next();
            let record = put(seq.0 + 1, &format!("key-{}", seq.0 % 9), &"v".repeat(3000));
            commit(&engine, &ks, batch(epoch, seq.0, vec![record])).await;
            writeln!(std::io::stdout(), "ack {seq}").expect("the parent listens");
            if seq.0.is_multiple_of(20) {
                fold(&engine, &ks, epoch, Revision(seq.0 - 10)).await;
            }
        }
    })
}

fn check(folder: &Folder, acknowledged: Seq) {
    let loaded = runtime().block_on(async {
        let engine = folder.open();
        engine.load(&name("a")).await.expect("it loads")
    });
    // The last one may be durable without having been acknowledged.
    assert!([acknowledged, acknowledged.next()].contains(&loaded.seq), "{loaded:?}");
    let (config, seq) = (keyspace::Config::default(), loaded.seq);
    let keyspace = Keyspace::load(config, loaded.base, loaded.log, Millis(0)).expect("no gap");
    assert_eq!(keyspace.revision(), Revision(seq.0 + 1));
    assert_eq!(keyspace.keys() as u64, seq.0.min(9));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
