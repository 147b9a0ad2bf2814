//! Sockets that are listened on: one a thread, sharing the port.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::net::TcpSocket;

use crate::{config::model::Intercept, intercept};

/// Connections that the kernel may have waiting for one thread.
const BACKLOG: u32 = 4_096;
/// Without a word of the other side, until it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One socket a thread; one more for IPv6 if connections are intercepted. A port
/// of 0 becomes a free one, the same for all. Must be called within a tokio
/// runtime.
pub(crate) fn bind(
    address: SocketAddr,
    intercept: Option<Intercept>,
    threads: usize,
) -> io::Result<Vec<std::net::TcpListener>> {
    let transparent = intercept == Some(Intercept::Inbound);
    let mut sockets = each(address, transparent, threads)?;
    if intercept.is_some() {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
        match each(address, transparent, threads) {
            Ok(more) => sockets.extend(more),
            // A host without IPv6 has nothing of it to capture.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

fn each(
    address: SocketAddr,
    transparent: bool,
    threads: usize,
) -> io::Result<Vec<std::net::TcpListener>> {
    // Sharing the port among our threads would also let a second process share
    // it unnoticed: taking it alone first finds that out.
    let alone = socket(address, false, false)?;
    let address = alone.local_addr()?;
    drop(alone);
    (0..threads).map(|_| socket(address, true, transparent)?.listen(BACKLOG)?.into_std()).collect()
}

/// For one thread alone.
pub(crate) fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    socket(address, false, false)?.listen(BACKLOG)?.into_std()
}

fn socket(address: SocketAddr, shared: bool, transparent: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    // Connections have it from here: whose client vanished without a word is
    // found out, in a tunnel too, where nothing else would.
    socket.set_keepalive(true)?;
    rustix::net::sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    rustix::net::sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    if transparent {
        intercept::transparent(&socket, address)?;
    }
    socket.bind(address)?;
    Ok(socket)
}
