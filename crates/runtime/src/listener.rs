//! Which address a Pod's process listens on, by what `/proc` tells.
//!
//! Packages share their host's network, so a port alone may be anyone's: of the
//! host, of another Pod. Only a socket that is open in a process of the Pod is
//! the Pod's.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use rustix::process::Pid;

use crate::proc::{self, CONTAINER_MARK, EXEC_MARK};

/// State of a listening socket (`TCP_LISTEN` of the kernel, in hex).
const LISTENING: &str = "0A";

struct Socket {
    inode: u64,
    address: SocketAddr,
}

/// `leaders` lead the sessions of the Pod's containers; whoever has left these
/// carries a mark that begins with `folder`.
pub(crate) fn find(leaders: &[i32], folder: &Path, port: u16) -> Option<SocketAddr> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let sockets: Vec<Socket> = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let mut found = None;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        let dir = entry.path();
        let of_pod =
            proc::session(pid).is_some_and(|id| leaders.contains(&id)) || is_marked(&dir, folder);
        if !of_pod {
            continue;
        }
        for socket in open_of(&dir, &sockets) {
            if socket.address.is_ipv4() {
                return Some(dialed(socket.address));
            }
            found = Some(dialed(socket.address));
        }
    }
    found
}

/// Those of `sockets` that the process has open.
fn open_of<'a>(dir: &Path, sockets: &'a [Socket]) -> impl Iterator<Item = &'a Socket> {
    let entries = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
    let inodes: Vec<u64> = entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    sockets.iter().filter(move |socket| inodes.contains(&socket.inode))
}

fn is_marked(dir: &Path, folder: &Path) -> bool {
    let environ = fs::read(dir.join("environ")).unwrap_or_default();
    let folder = format!("{}/", folder.display());
    environ.split(|byte| *byte == 0).any(|entry| {
        let entry = std::str::from_utf8(entry).unwrap_or_default();
        let (name, value) = entry.split_once('=').unwrap_or_default();
        matches!(name, CONTAINER_MARK | EXEC_MARK) && value.starts_with(&folder)
    })
}

/// Rows of `/proc/net/tcp` (proc(5)): index, local, remote, state, …, inode.
fn listening(table: &str, port: u16) -> Vec<Socket> {
    let row = |row: &str| {
        let mut fields = row.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (ip, local_port) = local.split_once(':')?;
        if state != LISTENING || u16::from_str_radix(local_port, 16) != Ok(port) {
            return None;
        }
        let address = SocketAddr::new(ip_of(ip)?, port);
        Some(Socket { inode: fields.nth(5)?.parse().ok()?, address })
    };
    table.lines().filter_map(row).collect()
}

/// Words of 32 bits in the order of the host, each printed as a number.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = hex.get(at..at + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let bytes: [u8; 16] = words.try_into().expect("four words are 16 bytes");
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// How to reach who listens at `address`: on every one means on loopback too.
fn dialed(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_kernel_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n   \
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n   \
            2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1\n";
        let found = listening(table, 8080);
        let shown: Vec<_> = found.iter().map(|s| format!("{} {}", s.inode, s.address)).collect();
        assert_eq!(shown, ["4711 127.0.0.1:8080", "4712 0.0.0.0:8080"]);
        assert_eq!(dialed(found[1].address).to_string(), "127.0.0.1:8080");
        assert!(listening(table, 8081).is_empty());
        let six = "00000000000000000000000001000000";
        assert_eq!(ip_of(six), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn a_socket_of_another_process_is_not_the_pods() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = socket.local_addr().expect("an address").port();
        let own = rustix::process::getpid();
        let session = proc::session(own).expect("a session");
        let nowhere = Path::new("/nowhere");
        assert_eq!(find(&[session], nowhere, port), socket.local_addr().ok());
        assert_eq!(find(&[], nowhere, port), None);
    }
}
