//! What `polis up` waits for, one condition each.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    time::Duration,
};

use client::{Client, Scope};
use resources::{CafeDeployment, Center, CenterPhase, ShardMapObject};

use crate::{http, layout::Layout};

/// Between two looks at something that has no watch.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 2048;

/// Something listens.
pub async fn port(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every API server listens, and one of them reads from the store.
pub async fn api(client: &Client, layout: &Layout) {
    for plan in &layout.centers {
        port(plan.api()).await;
    }
    while client.federation().all::<Center>().list("limit=1").await.is_err() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The ledger is ready in as many units as the layout serves shards in.
pub async fn ledgers(client: &Client, layout: &Layout) {
    let units = layout.centers.iter().filter(|plan| !plan.shards.is_empty()).count();
    let mut ledgers = client.federation().watch::<CafeDeployment>(Scope::everything());
    let mut now = ledgers.synced().await;
    let ready = |status: &resources::CafeDeploymentStatus| {
        status.units.values().filter(|unit| unit.ready_replicas > 0).count() >= units
    };
    while !now.iter().any(|deployment| ready(&deployment.status)) {
        now = ledgers.changed().await;
    }
}

/// Every shard is served by some unit.
pub async fn shards(client: &Client) {
    let mut maps = client.federation().watch::<ShardMapObject>(Scope::everything());
    let mut now = maps.synced().await;
    while !now.iter().any(|map| map.status.is_served()) {
        now = maps.changed().await;
    }
}

/// Every center is seen by the others.
pub async fn centers(client: &Client) {
    let mut centers = client.federation().watch::<Center>(Scope::everything());
    let mut now = centers.synced().await;
    while !now.iter().all(|center| center.status.phase == CenterPhase::Ready) {
        now = centers.changed().await;
    }
}

/// Every edge says it is ready: it has a map and endpoints.
pub async fn edges(layout: &Layout) {
    for plan in &layout.centers {
        let url = format!("http://{}/readyz", plan.edge_admin());
        while !http::status(&url).await.is_ok_and(|status| status == 200) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The last lines of a log.
pub fn tail(path: &str) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot read it: {error})"))
}
