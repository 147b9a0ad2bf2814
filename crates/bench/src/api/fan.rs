//! Watch fan-out: every watcher on a connection of its own hears of every
//! creation. A creation is done when all watchers have heard of it.
//!
//! A server may end a watch that falls behind: kube-apiserver does so within a
//! tenth of a second. The watcher does then what every client of Kubernetes
//! does, and watches on from the last version it saw: the time that it loses is
//! in the figures, and how often it happened is told beside them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use anyhow::{Context as _, bail};
use tokio::{sync::Notify, time::Instant};

use super::{
    http1::{CREATED, Connection, OK},
    requests::{self, Requests},
};
use crate::{
    drive::{Tally, Window},
    target::Target,
};

/// What the names of created objects begin with, after the quote.
const NAME: &str = "fan-";

/// What an event begins with that tells why a watch cannot go on.
const ERROR: &[u8] = br#"{"type":"ERROR""#;

/// How often in a row a watch may end without a word before that is all it does.
const SILENT_ENDS_MAX: u32 = 20;

/// One that is on its way.
struct News {
    number: u64,
    since: Instant,
    unheard: Cell<usize>,
    heard: Notify,
}

struct Fan<'a> {
    tally: RefCell<Tally>,
    news: RefCell<Vec<Rc<News>>>,
    /// Names differ from round to round.
    name: String,
    namespace: String,
    ended: &'a Cell<u64>,
}

pub(crate) async fn closed_loop(
    target: &Target,
    namespace: &str,
    round: &str,
    (watchers, writers): (usize, usize),
    object_bytes: usize,
    window: Window,
    ended: &Cell<u64>,
) -> anyhow::Result<Tally> {
    let name = format!("{NAME}{round}-");
    let requests = Requests::create(namespace, &name, object_bytes);
    let fan = Fan {
        tally: RefCell::new(Tally::new(window)),
        news: RefCell::default(),
        name: format!("\"{name}"),
        namespace: namespace.to_owned(),
        ended,
    };
    let start = fan.version(target).await?;
    let mut watching = Vec::new();
    for _ in 0..watchers {
        let connection = fan.watch(target, &start).await?;
        watching.push(fan.listen(target, connection, start.clone()));
    }
    let writing = (0..writers).map(|_| fan.write(target, &requests, watchers));
    tokio::select! {
        done = futures::future::try_join_all(writing) => done.map(drop)?,
        ended = futures::future::try_join_all(watching) => ended.map(drop)?,
    }
    Ok(fan.tally.into_inner())
}

// === impl Fan ===

impl Fan<'_> {
    /// That of the namespace as it is now: what was there before is of no round.
    async fn version(&self, target: &Target) -> anyhow::Result<String> {
        let list = requests::first_of(&self.namespace);
        let (status, list) = Connection::open(target).await?.read(&list).await?;
        let version = requests::version_in(&list).filter(|_| status == OK);
        version.map(str::to_owned).with_context(|| format!("a list was answered with {status}"))
    }

    async fn watch(&self, target: &Target, version: &str) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(target).await?;
        connection.follow(&requests::watch(&self.namespace, version)).await?;
        Ok(connection)
    }

    async fn write(
        &self,
        target: &Target,
        requests: &Requests,
        watchers: usize,
    ) -> anyhow::Result<()> {
        let mut connection = Connection::open(target).await?;
        let mut request = Vec::new();
        loop {
            let (number, since) = (requests.next(&mut request), Instant::now());
            let news =
                Rc::new(News { number, since, unheard: Cell::new(watchers), heard: Notify::new() });
            self.news.borrow_mut().push(news.clone());
            let answer = connection.ask(&request).await.context("create")?;
            if answer.status != CREATED {
                bail!("a creation was answered with {}", answer.status);
            }
            news.heard.notified().await;
            self.news.borrow_mut().retain(|other| other.number != number);
            if Instant::now() >= self.tally.borrow().window().end {
                return Ok(());
            }
        }
    }

    /// Watches on for as long as it is polled.
    async fn listen(
        &self,
        target: &Target,
        mut connection: Connection,
        mut version: String,
    ) -> anyhow::Result<()> {
        let mut silent = 0;
        loop {
            match self.follow(&mut connection).await? {
                Some(last) => (version, silent) = (last, 0),
                None => silent += 1,
            }
            if silent == SILENT_ENDS_MAX {
                bail!("watches end at once");
            }
            self.ended.set(self.ended.get() + 1);
            connection = self.watch(target, &version).await?;
        }
    }

    /// Hears events until the watch ends; the version of the last one.
    async fn follow(&self, connection: &mut Connection) -> anyhow::Result<Option<String>> {
        // An event may come in several chunks, and a chunk with several events.
        let (mut rest, mut last) = (Vec::new(), None);
        while let Some(chunk) = connection.chunk().await? {
            rest.extend_from_slice(&chunk);
            let mut from = 0;
            while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
                let event = &rest[from..from + end];
                if event.starts_with(ERROR) {
                    bail!("a watch was told {}", String::from_utf8_lossy(event));
                }
                self.hear(event);
                from += end + 1;
                if !rest[from..].contains(&b'\n') {
                    let event = &rest[from - end - 1..from];
                    last = requests::version_in(event).map(str::to_owned).or(last);
                }
            }
            rest.drain(..from);
        }
        Ok(last)
    }

    /// What was there before the watch is of another round.
    fn hear(&self, event: &[u8]) {
        let Some(number) = requests::number_in(event, &self.name) else { return };
        let news = self.news.borrow();
        let Some(news) = news.iter().find(|news| news.number == number) else { return };
        self.tally.borrow_mut().answered(news.since, Instant::now());
        news.unheard.set(news.unheard.get().saturating_sub(1));
        if news.unheard.get() == 0 {
            news.heard.notify_one();
        }
    }
}
