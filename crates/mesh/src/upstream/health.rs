//! Endpoints asked by us, whether anybody else asks or not.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Cluster, Endpoint, connect};
use crate::config::model::{Health, Upstream};

/// Watches all endpoints that are to be watched, for as long as it is polled.
pub(crate) async fn watch(clusters: Vec<Arc<Cluster>>) {
    let mut watchers = JoinSet::new();
    for cluster in clusters {
        let Some(health) = cluster.health.clone() else { continue };
        for endpoint in cluster.endpoints.iter().cloned() {
            watchers.spawn(follow(cluster.clone(), endpoint, health.clone()));
        }
    }
    while watchers.join_next().await.is_some() {}
}

async fn follow(cluster: Arc<Cluster>, endpoint: Arc<Endpoint>, health: Health) {
    let mut ticks = interval(health.interval.0.max(std::time::Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What is first seen counts at once.
    let mut in_row = health.healthy.max(health.unhealthy);
    let mut was_good = !endpoint.state.unhealthy.load(Relaxed);
    loop {
        ticks.tick().await;
        let asked = timeout(health.timeout.0, ask(&cluster, &endpoint, &health)).await;
        let good = matches!(asked, Ok(Ok(())));
        in_row = if good == was_good { in_row.saturating_add(1) } else { 1 };
        was_good = good;
        let needed = if good { health.healthy } else { health.unhealthy };
        let unhealthy = endpoint.state.unhealthy.load(Relaxed);
        if in_row >= needed && unhealthy == good {
            endpoint.state.unhealthy.store(!good, Relaxed);
            let (cluster, endpoint) = (&cluster.name, endpoint.address);
            tracing::info!(cluster, %endpoint, healthy = good, "health of an endpoint changed");
        }
    }
}

async fn ask(cluster: &Cluster, endpoint: &Endpoint, health: &Health) -> io::Result<()> {
    let stream = connect::tcp(cluster, endpoint.address).await?;
    let Some(path) = &health.path else { return Ok(()) };
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: polis-health\r\nconnection: close\r\n\r\n",
        path.get_ref(),
        endpoint.address
    );
    match &cluster.tls {
        None => exchange(stream, &request).await,
        Some(tls) => exchange(tls.connect(stream, Upstream::Http1).await?, &request).await,
    }
}

async fn exchange(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &str,
) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if status.starts_with(b"HTTP/1.") && status[8..].starts_with(b" 2") {
        return Ok(());
    }
    Err(io::Error::other("no status of 2xx"))
}
