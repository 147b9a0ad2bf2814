//! Opening a connection to an endpoint.

use std::{io, net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed};

use hop::{Io, Sender, Stream};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{Cluster, LocalEndpoint};
use crate::{intercept, tls::Why};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("connect: {0}")]
    Tcp(#[source] io::Error),
    #[error("connect: no answer in time")]
    Timeout,
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("the endpoint does not speak HTTP/2")]
    NotH2,
    #[error("a connection to it has just failed")]
    JustFailed,
    #[error("the cluster has as many connections as allowed")]
    NoRoom,
}

/// Within the cluster's time for connecting, the handshake included.
pub(crate) async fn io(cluster: &Cluster, endpoint: &LocalEndpoint) -> Result<Io, Error> {
    let open = async {
        let stream = tcp(cluster, endpoint.shared.address).await.map_err(Error::Tcp)?;
        stream.set_nodelay(true).map_err(Error::Tcp)?;
        let Some(tls) = &cluster.tls else { return Ok(Io::new(Stream::Plain(stream))) };
        let stream = tls.connect(stream, cluster.protocol).await.map_err(Error::Tls)?;
        Ok(Io::new(Stream::Connected(Box::new(stream))))
    };
    let opened = timeout(cluster.connect_timeout, open).await.unwrap_or(Err(Error::Timeout));
    opened.inspect_err(|error| {
        cluster.load.connect_failures.fetch_add(1, Relaxed);
        let (name, endpoint) = (&cluster.name, endpoint.shared.address);
        if let (Some(tls), Error::Tls(source)) = (&cluster.tls, error) {
            let why = Why::of(source);
            cluster.load.handshakes_failed.add(why);
            if let Some(more) = tls.seldom().may(Instant::now()) {
                tracing::warn!(cluster = name, %endpoint, why = why.name(), %error, more, "no handshake of TLS");
            }
        }
        tracing::debug!(cluster = name, %endpoint, %error, "cannot connect");
    })
}

pub(super) async fn tcp(cluster: &Cluster, address: SocketAddr) -> io::Result<TcpStream> {
    let Some(mark) = cluster.mark else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    intercept::mark(&socket, mark)?;
    socket.connect(address).await
}

/// The thread's one HTTP/2 connection to the endpoint, ready for a request.
pub(super) async fn h2(
    cluster: &Cluster,
    endpoint: &Rc<LocalEndpoint>,
) -> Result<Rc<Sender>, Error> {
    loop {
        let known = endpoint.h2.borrow().clone();
        if let Some(sender) = known {
            if sender.ready().await {
                return Ok(sender);
            }
            // Closing: what is under way on it finishes there.
            endpoint.h2.borrow_mut().take_if(|known| Rc::ptr_eq(known, &sender));
        }
        let _connecting = endpoint.connecting.lock().await;
        if endpoint.h2.borrow().is_some() {
            continue;
        }
        let io = io(cluster, endpoint).await?;
        if io.alpn().is_some_and(|alpn| alpn != Some(b"h2")) {
            return Err(Error::NotH2);
        }
        let address = endpoint.shared.address;
        let sender = hop::start(io, move |ended| {
            if let Err(error) = ended {
                tracing::debug!(endpoint = %address, %error, "HTTP/2 connection to an endpoint ended");
            }
        });
        *endpoint.h2.borrow_mut() = Some(sender);
    }
}
