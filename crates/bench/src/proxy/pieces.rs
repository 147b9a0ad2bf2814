//! Pieces over TCP, each of which comes back before the next one goes.

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::traffic::Traffic;
use crate::target::Stream;

pub(crate) async fn drive(streams: Vec<Stream>, traffic: &Traffic<'_>) -> anyhow::Result<()> {
    let clients = streams.into_iter().map(|stream| one_connection(stream, traffic));
    futures::future::try_join_all(clients).await.map(drop)
}

async fn one_connection(mut stream: Stream, traffic: &Traffic<'_>) -> anyhow::Result<()> {
    let piece = vec![b'p'; traffic.bytes];
    let mut came = piece.clone();
    while traffic.pace.next().await {
        let since = Instant::now();
        stream.write_all(&piece).await.context("send a piece")?;
        stream.flush().await.context("send a piece")?;
        stream.read_exact(&mut came).await.context("wait for a piece")?;
        anyhow::ensure!(came == piece, "another piece came back");
        traffic.judged_one();
        if !traffic.answered(since) {
            break;
        }
    }
    Ok(())
}
