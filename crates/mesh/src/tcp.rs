//! Bytes both ways: TCP, and TLS that is not ended here.

use std::{net::SocketAddr, rc::Rc};

use hop::Io;
use tokio::time::{Instant, timeout};

use crate::{
    config::model::ProxyProtocol,
    exchange::Client,
    route::To,
    tunnel::both_ways,
    upstream::Local,
    worker::{Plan, Worker},
};

/// A ClientHello, with all that people put into it.
const HELLO_BYTES_MAX: usize = 16 << 10;

/// Carries one connection of `listener` until both sides have ended it.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: &str,
    client: &Client,
    mut io: Io,
    sniff: bool,
) -> std::io::Result<()> {
    let plan = worker.plan();
    let Some(at) = plan.listener(listener) else { return Ok(()) };
    let name = if sniff {
        let patience = plan.shared.config.limits.head_timeout.0;
        match timeout(patience, server_name(&mut io)).await {
            Ok(Ok(name)) => name,
            _ => {
                worker.metrics.malformed.add(1);
                return Ok(());
            }
        }
    } else {
        None
    };
    let routes = &plan.shared.listeners[at].routes;
    let found = routes.iter().position(|route| route.matches_name(name.as_deref(), client));
    let metrics = plan.metrics(at, found);
    let Some(route) = found.map(|found| &routes[found]) else { return Ok(()) };
    let Some(cluster) = cluster(&worker, &plan, &route.to) else { return Ok(()) };
    metrics.began();
    let began = Instant::now();
    let carried = carry(&worker, &cluster, &mut io, client).await;
    metrics.ended(if carried.is_ok() { 200 } else { 502 }, began.elapsed());
    carried
}

async fn carry(
    worker: &Worker,
    cluster: &Rc<Local>,
    io: &mut Io,
    client: &Client,
) -> std::io::Result<()> {
    let refused = || std::io::Error::other("no room in the cluster, or no endpoint");
    let _busy = cluster.shared.admit().ok_or_else(refused)?;
    let mut tried = None;
    // Nothing has been sent: another endpoint is as good.
    for _ in 0..cluster.endpoints.len().clamp(1, 3) {
        let endpoint = cluster.pick(client.destination, None, tried.as_deref(), Instant::now());
        let endpoint = endpoint.ok_or_else(refused)?;
        let _under_way = endpoint.begin(Instant::now());
        let Ok(lease) = cluster.lease(&endpoint, true).await else {
            cluster.shared.observe(&endpoint.shared, true, Instant::now());
            tried = Some(endpoint);
            continue;
        };
        cluster.shared.observe(&endpoint.shared, false, Instant::now());
        let (mut upstream, _connection) = lease.into_io().ok_or_else(refused)?;
        if let Some(version) = cluster.shared.proxy_protocol {
            let to = client.destination.map_or_else(|| io.local_addr(), Ok)?;
            upstream.output.extend_from_slice(&origin(version, client.address, to));
        }
        worker.metrics.tunnels.add(1);
        let idle = worker.plan().shared.config.limits.idle_timeout.0;
        let (bytes_in, bytes_out) = both_ways(io, &mut upstream, idle).await?;
        worker.metrics.bytes_in.add(bytes_in);
        worker.metrics.bytes_out.add(bytes_out);
        return Ok(());
    }
    Err(refused())
}

/// Who the client is and whom it meant; that there is one, where the two speak of
/// different networks.
fn origin(version: ProxyProtocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let say = |addresses| {
        let origin = rpc::proxy_protocol::Origin { addresses, notes: Vec::new() };
        match version {
            ProxyProtocol::V1 => origin.line().map(String::into_bytes),
            ProxyProtocol::V2 => origin.bytes(),
        }
    };
    say(Some((from, to))).or_else(|_| say(None)).expect("nothing can be said wrongly")
}

fn cluster(worker: &Worker, plan: &Plan, to: &To) -> Option<Rc<Local>> {
    to.cluster(None, || worker.draw()).map(|at| plan.clusters[at].clone())
}

/// The name in the ClientHello, which stays in the input.
async fn server_name(io: &mut Io) -> std::io::Result<Option<String>> {
    let bad = || std::io::Error::other("no ClientHello");
    let mut hello = Hello::default();
    loop {
        match hello.look(&io.input) {
            Heard::Name(name) => return Ok(name),
            Heard::NeedMore => {}
            Heard::Nonsense => return Err(bad()),
        }
        let is_large = io.input.len() > HELLO_BYTES_MAX;
        if is_large || std::future::poll_fn(|cx| io.poll_fill(cx)).await? == 0 {
            return Err(bad());
        }
    }
}

/// Looks for the name in what a client says first, as it comes.
#[derive(Default)]
pub(crate) struct Hello {
    acceptor: rustls::server::Acceptor,
    read: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// All of it, with a name or without.
    Name(Option<String>),
    NeedMore,
    Nonsense,
}

// === impl Hello ===

impl Hello {
    /// `input` is all that has come.
    pub(crate) fn look(&mut self, input: &[u8]) -> Heard {
        let mut new = &input[self.read..];
        self.read = input.len();
        while !new.is_empty() {
            if self.acceptor.read_tls(&mut new).is_err() {
                return Heard::Nonsense;
            }
            match self.acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Heard::Name(hello.server_name().map(str::to_ascii_lowercase));
                }
                Ok(None) => {}
                Err(_) => return Heard::Nonsense,
            }
        }
        Heard::NeedMore
    }
}
