//! Opening a connection to an endpoint.

use std::{io, net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{Cluster, LocalEndpoint};
use crate::{intercept, io::Io, tls::Why, transport::Stream};

/// What one HTTP/2 stream, and all of a connection, may have on its way to us.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What is buffered of one stream on its way to the endpoint.
const SEND_BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("connect: {0}")]
    Tcp(#[source] io::Error),
    #[error("connect: no answer in time")]
    Timeout,
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("HTTP/2: {0}")]
    H2(#[from] h2::Error),
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
) -> Result<h2::client::SendRequest<Bytes>, Error> {
    loop {
        if let Some(sender) = ready(endpoint).await {
            return Ok(sender);
        }
        let _connecting = endpoint.connecting.lock().await;
        if endpoint.h2.borrow().is_some() {
            continue;
        }
        let stream = io(cluster, endpoint).await?.into_parts().0;
        if let Stream::Connected(stream) = &stream
            && stream.get_ref().1.alpn_protocol() != Some(b"h2")
        {
            return Err(Error::NotH2);
        }
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false)
            .handshake(rt::Gather::new(stream))
            .await?;
        *endpoint.h2.borrow_mut() = Some(sender);
        let endpoint = endpoint.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                let endpoint = endpoint.shared.address;
                tracing::debug!(%endpoint, %error, "HTTP/2 connection to an endpoint ended");
            }
            *endpoint.h2.borrow_mut() = None;
        });
    }
}

async fn ready(endpoint: &LocalEndpoint) -> Option<h2::client::SendRequest<Bytes>> {
    let sender = endpoint.h2.borrow().clone()?;
    match sender.ready().await {
        Ok(sender) => Some(sender),
        Err(_) => {
            // Closing: what is under way on it finishes there.
            *endpoint.h2.borrow_mut() = None;
            None
        }
    }
}
