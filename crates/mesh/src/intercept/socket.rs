//! What interception asks of sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
};

use rustix::net::sockopt;

use crate::config::model::Intercept;

/// Connections of this socket are our own: the rules leave them alone.
pub(crate) fn mark(socket: &impl AsFd, mark: u32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_MARK, mark)
}

/// This socket may be given connections to other addresses than its own.
pub(crate) fn transparent(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        set(socket, libc::SOL_IP, libc::IP_TRANSPARENT, 1)
    } else {
        set(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, 1)
    }
}

#[expect(unsafe_code, reason = "neither option has a safe wrapper")]
fn set(socket: &impl AsFd, level: i32, option: i32, value: u32) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel
    // reads `length` bytes of `value`, which outlives the call.
    let set = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value, length)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where a connection was to go that was intercepted by the listener at `ours`.
/// Whoever connects to the listener itself meant nobody: going on would go round.
pub(crate) fn original(
    stream: &tokio::net::TcpStream,
    how: Intercept,
    ours: SocketAddr,
) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    let original = match how {
        Intercept::Inbound => local,
        Intercept::Outbound if local.is_ipv4() => sockopt::ip_original_dst(stream)?.into(),
        Intercept::Outbound => sockopt::ipv6_original_dst(stream)?.into(),
    };
    let (ip, port) = (original.ip().to_canonical(), original.port());
    if ip.is_loopback() && port == ours.port() {
        return Err(io::Error::other("it was not intercepted: it came straight to the listener"));
    }
    Ok(SocketAddr::new(ip, port))
}

/// A block of addresses, and a port or any: `10.0.0.0/8:443`, `10.1.2.3`,
/// `[fd00::/8]:443`, `fd00::/8`, `:5432`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    block: Option<(IpAddr, u8)>,
    port: Option<u16>,
}

// === impl Destination ===

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        let bad = || {
            format!(
                "`{text}` is no destination; write `10.0.0.0/8:443`, `[fd00::/8]:443`, `10.1.2.3` or `:443`"
            )
        };
        let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
        let (block, port) = match text.rsplit_once(':') {
            Some((block, port)) if !bare_v6 && !text.ends_with(']') => (block, Some(port)),
            _ => (text, None),
        };
        let port = port.map(str::parse).transpose().map_err(|_| bad())?;
        let block = block.strip_prefix('[').and_then(|b| b.strip_suffix(']')).unwrap_or(block);
        if block.is_empty() && port.is_some() {
            return Ok(Destination { block: None, port });
        }
        let block = self::block(block).ok_or_else(bad)?;
        Ok(Destination { block: Some(block), port })
    }
}

/// An address and how many bits of it count.
pub(crate) fn block(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let ip: IpAddr = ip.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some((ip, bits))
}

impl Destination {
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == address.port())
            && self.block.is_none_or(|(block, bits)| match (block, address.ip()) {
                (IpAddr::V4(block), IpAddr::V4(ip)) => {
                    let differ = block.to_bits() ^ ip.to_bits();
                    differ.leading_zeros() >= u32::from(bits)
                }
                (IpAddr::V6(block), IpAddr::V6(ip)) => {
                    let differ = block.to_bits() ^ ip.to_bits();
                    differ.leading_zeros() >= u32::from(bits)
                }
                _ => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(destination: &str, inside: &[&str], outside: &[&str]) {
        let parsed: Destination = destination.parse().expect(destination);
        let holds = |text: &&str| parsed.contains(text.parse().expect("an address"));
        assert!(inside.iter().all(&holds), "{destination}: {inside:?}");
        assert!(!outside.iter().any(holds), "{destination}: {outside:?}");
    }

    #[test]
    fn a_destination_is_a_block_and_perhaps_a_port() {
        check("10.0.0.0/8:443", &["10.9.8.7:443"], &["10.9.8.7:80", "11.0.0.1:443", "[::1]:443"]);
        check("10.1.2.3", &["10.1.2.3:1", "10.1.2.3:80"], &["10.1.2.4:80"]);
        check("0.0.0.0/0", &["1.2.3.4:5"], &["[fd00::1]:5"]);
        check("[fd00::/8]:443", &["[fd12::1]:443"], &["[fe80::1]:443", "[fd12::1]:444"]);
        check("fd00::/8", &["[fd12::1]:443"], &["[fe80::1]:443"]);
        check("[::1]", &["[::1]:443"], &["[::2]:443"]);
        check(":5432", &["10.0.0.1:5432", "[::1]:5432"], &["10.0.0.1:5433"]);
        for bad in
            ["", ":", "10.0.0.0/33", "host:80", "10.0.0.1:99999", "10.0.0.0/8/8", "[fd00::/129]"]
        {
            assert!(bad.parse::<Destination>().is_err(), "{bad}");
        }
    }
}
