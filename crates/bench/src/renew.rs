//! Lease keep-alives: each client has a lease and a stream, and renews as soon
//! as it was told that it may.

use std::cell::RefCell;

use anyhow::Context;
use pb_etcd::etcdserverpb as pb;
use prost::Message as _;
use tokio::time::Instant;

use crate::{
    drive::{Tally, Window},
    grpc::{self, Messages},
    target::Target,
    wire::{Connection, Event, StreamId},
    work::{CLIENTS_PER_CONNECTION, connect},
};

const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// Seconds; longer than any round.
const TTL: i64 = 600;

struct Slot {
    stream: StreamId,
    request: Vec<u8>,
    messages: Messages,
    since: Instant,
}

/// A lease for each client.
pub(crate) async fn grant(target: &Target, clients: usize) -> anyhow::Result<Vec<i64>> {
    let mut leases = Vec::new();
    for _ in 0..clients {
        let request = pb::LeaseGrantRequest { ttl: TTL, id: 0 };
        let granted: pb::LeaseGrantResponse = grpc::ask(target, GRANT, &request).await?;
        leases.push(granted.id);
    }
    Ok(leases)
}

pub(crate) async fn closed_loop(
    target: &Target,
    leases: &[i64],
    window: Window,
) -> anyhow::Result<Tally> {
    let tally = RefCell::new(Tally::new(window));
    let connections = connect(target, leases.len()).await.context("connect")?;
    let loops = connections
        .into_iter()
        .zip(leases.chunks(CLIENTS_PER_CONNECTION))
        .map(|(connection, leases)| one_connection(connection, leases, &tally));
    futures::future::try_join_all(loops).await?;
    Ok(tally.into_inner())
}

async fn one_connection(
    mut connection: Connection,
    leases: &[i64],
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let mut slots = Vec::new();
    for id in leases {
        let request = pb::LeaseKeepAliveRequest { id: *id }.encode_to_vec();
        let stream = connection.call(KEEP_ALIVE, &request, false);
        slots.push(Slot { stream, request, messages: Messages::default(), since: Instant::now() });
    }
    let mut events = Vec::new();
    let mut running = slots.len();
    while running > 0 {
        connection.turn(&mut events).await.context("talk to the server")?;
        let now = Instant::now();
        for event in events.drain(..) {
            let Event::Data(stream, data) = event else {
                anyhow::bail!("a stream of keep-alives has ended");
            };
            let Some(slot) = slots.iter_mut().find(|slot| slot.stream == stream) else { continue };
            slot.messages.push(data);
            while slot.messages.next().is_some() {
                if tally.borrow_mut().answered(slot.since, now) {
                    slot.since = now;
                    connection.send(stream, &slot.request, false);
                } else {
                    running -= 1;
                }
            }
        }
    }
    Ok(())
}
