//! Sockets that are listened on: one a thread, sharing the port.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpSocket;

/// Connections that the kernel may have waiting for one thread.
const BACKLOG: u32 = 4_096;
/// Without a word of the other side, until it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One socket a thread. A port of 0 becomes a free one, the same for all.
/// Must be called within a tokio runtime.
pub(crate) fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // Sharing the port among our threads would also let a second process share
    // it unnoticed: taking it alone first finds that out.
    let alone = socket(address, false)?;
    let address = alone.local_addr()?;
    drop(alone);
    (0..threads).map(|_| socket(address, true)?.listen(BACKLOG)?.into_std()).collect()
}

/// For one thread alone.
pub(crate) fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    socket(address, false)?.listen(BACKLOG)?.into_std()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    // Connections have it from here: whose client vanished without a word is
    // found out, in a tunnel too, where nothing else would.
    socket.set_keepalive(true)?;
    rustix::net::sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    rustix::net::sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    socket.bind(address)?;
    Ok(socket)
}
