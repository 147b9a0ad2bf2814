//! A closed loop: every connection has one request under way, always.

use std::cell::RefCell;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use super::{http1::Connection, requests::Requests};
use crate::{
    drive::{Tally, Window},
    target::Target,
};

/// Runs until the window is over, or `count` requests were answered.
pub(crate) async fn closed_loop(
    target: &Target,
    requests: &Requests,
    clients: usize,
    count: Option<u64>,
    window: Window,
) -> anyhow::Result<Tally> {
    let tally = RefCell::new(Tally::new(window));
    let clients = (0..clients).map(|_| one_connection(target, requests, count, &tally));
    futures::future::try_join_all(clients).await?;
    Ok(tally.into_inner())
}

/// Sends `count` requests as fast as they are answered.
pub(crate) async fn all(
    target: &Target,
    requests: &Requests,
    clients: usize,
    count: u64,
) -> anyhow::Result<()> {
    closed_loop(target, requests, clients, Some(count), Window::until_done()).await.map(drop)
}

async fn one_connection(
    target: &Target,
    requests: &Requests,
    count: Option<u64>,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(target).await?;
    let mut request = Vec::new();
    while count.is_none_or(|count| requests.given() < count) {
        requests.next(&mut request);
        let since = Instant::now();
        let answer = connection.ask(&request).await.context("ask the server")?;
        if answer.status != requests.status {
            let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
            bail!("{}: answered with {}", String::from_utf8_lossy(line), answer.status);
        }
        if !tally.borrow_mut().answered(since, Instant::now()) {
            break;
        }
    }
    Ok(())
}
