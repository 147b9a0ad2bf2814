//! HTTP/2 and gRPC: a few requests at once on each connection.

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::{
    Protocol,
    traffic::Traffic,
    users::{USER_HEADER, User, VERDICT_BYTES},
};
use crate::{
    target::Target,
    wire::{Connection, Event, StreamId},
    work::CLIENTS_PER_CONNECTION,
};

pub(crate) const CALL: &str = "/polis.bench.Echo/Echo";
const PATH: &str = "/accounts/balance";

/// Before a message of gRPC.
const PREFIX_BYTES: usize = 5;

/// As many bytes of an answer as are looked at.
const START_BYTES: usize = PREFIX_BYTES + VERDICT_BYTES;

/// A request under way.
struct Slot<'a> {
    stream: StreamId,
    since: Instant,
    user: &'a User,
    start: [u8; START_BYTES],
    received: usize,
}

pub(crate) async fn connect(target: &Target, clients: usize) -> anyhow::Result<Vec<Connection>> {
    crate::work::connect(target, clients).await
}

pub(crate) async fn drive(
    connections: Vec<Connection>,
    clients: usize,
    protocol: Protocol,
    traffic: &Traffic<'_>,
) -> anyhow::Result<()> {
    let mut left = clients;
    let loops = connections.into_iter().map(|connection| {
        let own = left.min(CLIENTS_PER_CONNECTION);
        left -= own;
        one_connection(connection, own, protocol, traffic)
    });
    futures::future::try_join_all(loops).await.map(drop)
}

async fn one_connection(
    mut connection: Connection,
    clients: usize,
    protocol: Protocol,
    traffic: &Traffic<'_>,
) -> anyhow::Result<()> {
    let message = vec![b'm'; traffic.bytes];
    let before = if protocol == Protocol::Grpc { PREFIX_BYTES } else { 0 };
    let begin = |connection: &mut Connection| {
        let user = traffic.next_user();
        let fields = [(USER_HEADER, &*user.id)];
        let stream = match protocol {
            Protocol::Grpc => connection.call_with(CALL, &fields, &message, true),
            _ => connection.get(PATH, &fields),
        };
        Slot { stream, since: Instant::now(), user, start: [0; START_BYTES], received: 0 }
    };
    let mut slots: Vec<Slot> = Vec::with_capacity(clients);
    let mut events = Vec::new();
    let mut is_on = true;
    while is_on || !slots.is_empty() {
        while is_on && slots.len() < clients && traffic.pace.try_next() {
            slots.push(begin(&mut connection));
        }
        tokio::select! {
            biased;
            turned = connection.turn(&mut events) => turned.context("talk to the server")?,
            more = traffic.pace.next(), if is_on && slots.len() < clients => {
                is_on = more;
                if more {
                    slots.push(begin(&mut connection));
                }
            }
        }
        for event in events.drain(..) {
            match event {
                Event::Data(stream, data) => {
                    let slot = slots.iter_mut().find(|slot| slot.stream == stream);
                    slot.into_iter().for_each(|slot| slot.take(&data));
                }
                Event::End(stream) => {
                    let Some(at) = slots.iter().position(|slot| slot.stream == stream) else {
                        continue;
                    };
                    let slot = slots.swap_remove(at);
                    if slot.received != before + traffic.bytes {
                        bail!("an answer of {} bytes: it was refused", slot.received);
                    }
                    let start = [slot.start[before], slot.start[before + 1]];
                    traffic.check(slot.user, start)?;
                    is_on &= traffic.answered(slot.since);
                }
            }
        }
    }
    Ok(())
}

// === impl Slot ===

impl Slot<'_> {
    fn take(&mut self, data: &[u8]) {
        if let Some(room) = self.start.get_mut(self.received..) {
            let looked_at = room.len().min(data.len());
            room[..looked_at].copy_from_slice(&data[..looked_at]);
        }
        self.received += data.len();
    }
}
