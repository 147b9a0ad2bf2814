//! Alarms of replicas over one database, as etcdctl shows them.

use std::time::Duration;

use e2e::{Store, wait_for};
use pb_etcd::etcdserverpb::{
    self as pb, AlarmType, alarm_request::AlarmAction, maintenance_client::MaintenanceClient,
};
use testkit::MariaDb;

const LIMIT: Duration = Duration::from_secs(180);

fn start_three(database: &str, options: &[&str]) -> Vec<Store> {
    ["store-a", "store-b", "store-c"]
        .iter()
        .map(|name| {
            let (database, name) = (format!("--database={database}"), format!("--name={name}"));
            Store::start("alarms", &[&[database.as_str(), &name], options].concat())
        })
        .collect()
}

fn put(store: &Store) -> (bool, String) {
    store.ctl(&["put", "k", "v"])
}

/// Until every replica answers a put with this text.
fn all_answer(stores: &[Store], text: &str) {
    for store in stores {
        wait_for(&format!("{text:?}"), LIMIT, || put(store).1.contains(text).then_some(()));
    }
}

/// Until the replica lists this.
fn lists(store: &Store, alarms: &str) {
    let alarms = (true, alarms.to_owned());
    let listed = || (store.ctl(&["alarm", "list"]) == alarms).then_some(());
    wait_for(&format!("{alarms:?}"), LIMIT, listed);
}

/// etcdctl can list and disarm, and not raise.
fn raise(store: &Store, kind: AlarmType) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let channel = kv_etcd::connect::channel(&store.url(), None).expect("a channel");
        let mut client = MaintenanceClient::new(channel);
        let action = AlarmAction::Activate.into();
        let request = pb::AlarmRequest { action, member_id: 0xa1a, alarm: kind.into() };
        // Between two leaders nobody takes it.
        let raised = async {
            while client.alarm(request).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, raised).await.expect("raised");
    });
}

#[test]
fn an_alarm_raised_at_one_replica_is_shown_and_obeyed_by_all_until_one_disarms_it() {
    let database = MariaDb::shared().empty_database("alarms");
    let stores = start_three(&database, &[]);
    all_answer(&stores, "OK");
    for (n, kind, shown, text) in [
        (1, AlarmType::Nospace, "NOSPACE", "etcdserver: mvcc: database space exceeded"),
        (2, AlarmType::Corrupt, "CORRUPT", "etcdserver: corrupt cluster"),
    ] {
        raise(&stores[n], kind);
        all_answer(&stores, text);
        for store in &stores {
            lists(store, &format!("memberID:{} alarm:{shown} ", 0xa1a));
        }
        wait_for("it is disarmed", LIMIT, || stores[0].ctl(&["alarm", "disarm"]).0.then_some(()));
        all_answer(&stores, "OK");
        lists(&stores[n], "");
    }
}

#[test]
fn a_row_that_was_changed_in_the_database_is_found_by_the_replicas() {
    let database = MariaDb::shared().empty_database("damage");
    let stores = start_three(&database, &["--experimental-corrupt-check-time=1s"]);
    all_answer(&stores, "OK");
    let sound = "polis_store_audits_total{outcome=\"sound\"}";
    for store in &stores {
        wait_for("a first look", LIMIT, || (store.figure(sound) > 0).then_some(()));
        assert_eq!(store.done(&["alarm", "list"]), "");
    }
    // One byte in the middle, as a disk or a person may.
    let statement = "UPDATE polis_log SET data = INSERT(data, LENGTH(data) DIV 2, 1, CHAR(0xA5)) \
                     ORDER BY seq LIMIT 1";
    testkit::query(&database, statement).expect("a row is changed");
    all_answer(&stores, "etcdserver: corrupt cluster");
    let listed = stores[0].done(&["alarm", "list"]);
    assert!(listed.lines().all(|line| line.contains("alarm:CORRUPT")), "{listed}");
}
