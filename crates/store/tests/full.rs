//! A store that holds as much as it may.

mod common;

use std::{path::PathBuf, sync::Arc, time::Duration};

use common::{PATIENCE, config, within};
use engine::{Embedded, EmbeddedConfig};
use kv::{DeleteRequest, Error, KeyRange, Kv, PutRequest, RangeRequest};
use kv_etcd::Client;
use pb_etcd::etcdserverpb::{
    self as pb, alarm_request::AlarmAction, maintenance_client::MaintenanceClient,
};
use rt::{Clock, drain::Trigger};
use store::{Config, Store};
use tonic::transport::Channel;

const MIB: usize = 1024 * 1024;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Served {
    kv: Arc<dyn Kv>,
    maintenance: MaintenanceClient<Channel>,
    trigger: Trigger,
    running: tokio::task::JoinHandle<()>,
}

async fn serve(folder: &Folder, quota_bytes: u64) -> Served {
    // A fold that a store before has begun ends behind it.
    let opened = async {
        loop {
            match Embedded::open(EmbeddedConfig::new(&folder.0)) {
                Err(engine::Error::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => return opened,
            }
        }
    };
    let engine = within(opened).await.expect("it opens");
    let config = Config { quota_bytes, ..config() };
    let store = Store::build_on(Arc::new(engine), config, Clock::real()).await.expect("built");
    let url = format!("http://{}", store.local_addr());
    let (trigger, drain) = rt::drain::channel();
    let running = tokio::spawn(store.run(drain));
    let client = Client::connect(kv_etcd::Config::new(&url, None)).expect("a client");
    let channel = Channel::from_shared(url).expect("a URL").connect_lazy();
    let kv = Arc::new(client.keyspace("default").expect("a keyspace"));
    Served { kv, maintenance: MaintenanceClient::new(channel), trigger, running }
}

impl Served {
    async fn stop(self) {
        self.trigger.drain(PATIENCE).await;
        within(self.running).await.expect("it ends");
    }

    async fn alarms(&mut self, action: AlarmAction) -> Vec<pb::AlarmMember> {
        let list = pb::AlarmRequest::default();
        let raised =
            within(self.maintenance.alarm(list)).await.expect("alarms").into_inner().alarms;
        for alarm in &raised {
            let pb::AlarmMember { member_id, alarm } = *alarm;
            let request = pb::AlarmRequest { action: action.into(), member_id, alarm };
            within(self.maintenance.alarm(request)).await.expect("an answer");
        }
        raised
    }

    async fn put(&self, n: u8) -> Result<(), Error> {
        within(self.kv.put(PutRequest::new("k", vec![n; MIB]))).await.map(drop)
    }
}

#[tokio::test]
async fn a_full_store_raises_an_alarm_that_stands_until_it_is_disarmed() {
    let path = std::env::temp_dir().join(format!("polis-store-full-{}", std::process::id()));
    let folder = Folder(path);
    // Files that are made ahead of need, some 80 MiB, do not count.
    const QUOTA: u64 = 16 * MIB as u64;
    let mut served = serve(&folder, QUOTA).await;
    assert_eq!(served.alarms(AlarmAction::Get).await, []);
    // A key of its own each time: nothing of it can be forgotten.
    let mut n = 0;
    let refused = loop {
        n += 1;
        assert!(n < 20, "it fills up late");
        let put = PutRequest::new(format!("fill-{n}"), vec![1; MIB]);
        if let Err(error) = within(served.kv.put(put)).await {
            break error;
        }
    };
    assert_eq!(refused, Error::NoSpace);
    assert!(n > 15, "it fills up early, with {n}");
    let grant = within(served.kv.lease_grant(None, Duration::from_secs(60))).await;
    assert_eq!(grant.expect_err("no room for a lease"), Error::NoSpace);
    let alarms = served.alarms(AlarmAction::Get).await;
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].alarm(), pb::AlarmType::Nospace);

    // A restart with room to spare does not forget it.
    served.stop().await;
    let mut served = serve(&folder, 100 * QUOTA).await;
    within(async {
        while served.put(2).await != Err(Error::NoSpace) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // What makes room is taken all along.
    let revision = {
        let one = RangeRequest::new(KeyRange::key("k"));
        within(served.kv.range(one)).await.expect("reads go on").revision
    };
    // The full store may have come to it first.
    let compacted = within(served.kv.compact(revision)).await;
    assert!(matches!(compacted, Ok(_) | Err(Error::Compacted { .. })), "{compacted:?}");
    let delete = DeleteRequest { range: KeyRange::key("none"), prev_kv: false };
    within(served.kv.delete(delete)).await.expect("deletes go on");

    assert_eq!(served.alarms(AlarmAction::Deactivate).await.len(), 1);
    served.put(3).await.expect("room again");
    assert_eq!(served.alarms(AlarmAction::Get).await, []);
    served.stop().await;
}

#[tokio::test]
async fn a_corrupt_alarm_stops_all_use_of_keys_until_it_is_disarmed() {
    let path = std::env::temp_dir().join(format!("polis-store-corrupt-{}", std::process::id()));
    let folder = Folder(path);
    let mut served = serve(&folder, u64::MAX).await;
    served.put(1).await.expect("a put");
    let alarm = pb::AlarmType::Corrupt.into();
    let raise = pb::AlarmRequest { action: AlarmAction::Activate.into(), member_id: 7, alarm };
    let raised = within(served.maintenance.alarm(raise)).await.expect("raised").into_inner();
    assert_eq!(raised.alarms.len(), 1);
    assert_eq!(served.put(2).await, Err(Error::Corrupt));
    let read = within(served.kv.range(RangeRequest::new(KeyRange::key("k")))).await;
    assert_eq!(read.expect_err("nothing is said"), Error::Corrupt);
    served.alarms(AlarmAction::Deactivate).await;
    served.put(3).await.expect("a put");
    served.stop().await;
}
