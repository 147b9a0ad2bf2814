//! Watch fan-out: a few writers, and many watchers who all want to know.
//!
//! A put is done when every watcher has heard of it; its writer then makes the
//! next one. What is counted are events that reached a watcher, each with the
//! time since its put was asked for.

use std::cell::RefCell;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::future::{Either, select};
use pb_etcd::etcdserverpb::{self as pb, watch_request::RequestUnion};
use prost::Message as _;
use tokio::{sync::Notify, time::Instant};

use crate::{
    drive::{Tally, Window},
    grpc::Messages,
    target::Target,
    wire::{Connection, Event, StreamId},
    work::{CLIENTS_PER_CONNECTION, PUT, connect, key, prefix_end},
};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const PREFIX: &str = "bench/watched/";

/// What all connections of a run share.
struct Fan {
    tally: Tally,
    watchers: usize,
    placed: usize,
    /// Of each put: when it was asked for, and how many have still to hear.
    puts: Vec<(Instant, usize)>,
    /// Puts that everyone has heard of and nobody has followed up.
    done: usize,
    is_over: bool,
}

/// Of a `WatchResponse`, what a run looks at: reading all of it would cost more
/// than telling it costs a server.
#[derive(prost::Message)]
struct Told {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<ToldEvent>,
}

#[derive(prost::Message)]
struct ToldEvent {
    #[prost(message, optional, tag = "2")]
    kv: Option<ToldKv>,
}

#[derive(prost::Message)]
struct ToldKv {
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// `watchers` streams on some connections, `writers` calls on another.
pub(crate) async fn closed_loop(
    target: &Target,
    watchers: usize,
    writers: usize,
    value_bytes: usize,
    window: Window,
) -> anyhow::Result<Tally> {
    let fan = RefCell::new(Fan {
        tally: Tally::new(window),
        watchers,
        placed: 0,
        puts: Vec::new(),
        done: 0,
        is_over: false,
    });
    let woken = Notify::new();
    let connections = connect(target, watchers).await.context("connect")?;
    let mut left = watchers;
    let watching = connections.into_iter().map(|connection| {
        let own = left.min(CLIENTS_PER_CONNECTION);
        left -= own;
        watch(connection, own, &fan, &woken)
    });
    let watching = futures::future::try_join_all(watching);
    let writing = write(Connection::open(target).await?, writers, value_bytes, &fan, &woken);
    // The watchers' streams have no end; the writer's window has.
    match select(std::pin::pin!(watching), std::pin::pin!(writing)).await {
        Either::Left((watched, _)) => drop(watched?),
        Either::Right((written, _)) => written?,
    }
    Ok(fan.into_inner().tally)
}

async fn watch(
    mut connection: Connection,
    watchers: usize,
    fan: &RefCell<Fan>,
    woken: &Notify,
) -> anyhow::Result<()> {
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(PREFIX.as_bytes()),
        range_end: prefix_end(PREFIX),
        ..Default::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let request = request.encode_to_vec();
    let mut streams: Vec<(StreamId, Messages)> = (0..watchers)
        .map(|_| (connection.call(WATCH, &request, false), Messages::default()))
        .collect();
    let mut events = Vec::new();
    loop {
        connection.turn(&mut events).await.context("watch")?;
        let now = Instant::now();
        for event in events.drain(..) {
            let Event::Data(stream, data) = event else { bail!("a watch has ended") };
            let found = streams.iter_mut().find(|(id, _)| *id == stream);
            let (_, messages) = found.expect("only streams that we opened are answered");
            messages.push(data);
            while let Some(message) = messages.next() {
                let told = Told::decode(message).context("read a watch")?;
                if fan.borrow_mut().heard(&told, now) {
                    woken.notify_one();
                }
            }
        }
    }
}

async fn write(
    mut connection: Connection,
    writers: usize,
    value_bytes: usize,
    fan: &RefCell<Fan>,
    woken: &Notify,
) -> anyhow::Result<()> {
    while fan.borrow().placed < fan.borrow().watchers {
        woken.notified().await;
    }
    fan.borrow_mut().done = writers;
    let mut events = Vec::new();
    loop {
        {
            let mut fan = fan.borrow_mut();
            if fan.is_over {
                return Ok(());
            }
            for _ in 0..std::mem::take(&mut fan.done) {
                let put = fan.put(value_bytes);
                connection.call(PUT, &put.encode_to_vec(), true);
            }
        }
        connection.flush().await.context("put")?;
        let turned = {
            let turn = std::pin::pin!(connection.turn(&mut events));
            match select(turn, std::pin::pin!(woken.notified())).await {
                Either::Left((turned, _)) => turned,
                Either::Right(_) => Ok(()),
            }
        };
        turned.context("put")?;
        events.clear();
    }
}

// === impl Fan ===

impl Fan {
    /// The next put. Its number stands in front of its value.
    fn put(&mut self, value_bytes: usize) -> pb::PutRequest {
        let number = self.puts.len() as u64;
        self.puts.push((Instant::now(), self.watchers));
        let mut value = number.to_be_bytes().to_vec();
        value.resize(value_bytes.max(value.len()), b'v');
        pb::PutRequest { key: key(PREFIX, number % 100), value: value.into(), ..Default::default() }
    }

    /// Counts what a watcher was told; says whether the writer should know.
    fn heard(&mut self, told: &Told, now: Instant) -> bool {
        if told.created {
            self.placed += 1;
            return self.placed == self.watchers;
        }
        let mut is_news = false;
        for event in &told.events {
            let Some(kv) = &event.kv else { continue };
            let Some(number) = kv.value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
            else {
                continue;
            };
            let put = usize::try_from(number).ok().and_then(|at| self.puts.get_mut(at));
            let Some((since, left)) = put else { continue };
            *left -= 1;
            let is_done = *left == 0;
            let since = *since;
            if !self.tally.answered(since, now) {
                self.is_over = true;
                is_news = true;
            }
            if is_done {
                self.done += 1;
                is_news = true;
            }
        }
        is_news
    }
}
