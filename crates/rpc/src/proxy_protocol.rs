//! The PROXY protocol, versions 1 and 2: whom a connection is from, said by the
//! balancer before it, ahead of everything else.
//!
//! Source: HAProxy's `doc/proxy-protocol.txt` (2020/03/05). Believed only from
//! those who are configured to say it: anyone can write these bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const SIGNATURE_V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end, as the source computes it.
pub const LINE_BYTES_MAX: usize = 107;
/// Most that version 2 may say behind its first 16 bytes. Addresses take 36, or
/// 216 of files; the rest are notes, of which a certificate's name is a long one.
pub const NOTES_BYTES_MAX: usize = 4096;

const HEAD_BYTES_V2: usize = 16;
const STREAM_V4: u8 = 0x11;
const STREAM_V6: u8 = 0x21;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// From and to. None if the balancer speaks for itself, or of something
    /// that has no such addresses: then those of the connection hold.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Of version 2: type and value, in order.
    pub notes: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it is not the PROXY protocol")]
    NotProxy,
    #[error("the PROXY line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    #[error("the PROXY line is not understood")]
    BadLine,
    #[error("version or command {0:#04x} of the PROXY protocol is unknown")]
    Unknown(u8),
    #[error("{0} bytes of addresses and notes; {NOTES_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("addresses or notes are shorter than they say")]
    Short,
    #[error("both addresses must be of one family")]
    Families,
}

/// The origin and how many bytes it took; none if more are needed.
pub fn read(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    if begins(bytes, &SIGNATURE_V2) {
        read_v2(bytes)
    } else if begins(bytes, b"PROXY ") {
        read_v1(bytes)
    } else {
        Err(Error::NotProxy)
    }
}

fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(found, wanted)| found == wanted)
}

fn read_v1(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        let over = bytes.len() >= LINE_BYTES_MAX;
        return if over { Err(Error::LineTooLong) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&line[..end]).map_err(|_| Error::BadLine)?;
    let addresses = match *line.split(' ').collect::<Vec<_>>() {
        // What follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse().map(IpAddr::V4).map_err(|_| Error::BadLine);
            Some(((ip(from)?, port(from_port)?).into(), (ip(to)?, port(to_port)?).into()))
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse().map(IpAddr::V6).map_err(|_| Error::BadLine);
            Some(((ip(from)?, port(from_port)?).into(), (ip(to)?, port(to_port)?).into()))
        }
        _ => return Err(Error::BadLine),
    };
    Ok(Some((Origin { addresses, notes: Vec::new() }, end + 2)))
}

/// Digits only, with no zero in front.
fn port(text: &str) -> Result<u16, Error> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain).ok_or(Error::BadLine)
}

fn read_v2(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    if let Some(command @ (..0x20 | 0x22..)) = bytes.get(12) {
        return Err(Error::Unknown(*command));
    }
    let Some([.., command, family, a, b]) = bytes.first_chunk::<HEAD_BYTES_V2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*a, *b]));
    if length > NOTES_BYTES_MAX {
        return Err(Error::TooLong(length));
    }
    let Some(said) = bytes[HEAD_BYTES_V2..].get(..length) else { return Ok(None) };
    let is_local = *command == 0x20;
    let (addresses, notes) = match *family {
        STREAM_V4 => {
            let ([ips @ .., p, q, r, s], notes) =
                said.split_first_chunk::<12>().ok_or(Error::Short)?;
            let [f0, f1, f2, f3, t0, t1, t2, t3] = *ips;
            let from = (Ipv4Addr::new(f0, f1, f2, f3), u16::from_be_bytes([*p, *q]));
            let to = (Ipv4Addr::new(t0, t1, t2, t3), u16::from_be_bytes([*r, *s]));
            (Some((from.into(), to.into())), notes)
        }
        STREAM_V6 => {
            let (ips, notes) = said.split_first_chunk::<36>().ok_or(Error::Short)?;
            let (from, rest) = ips.split_first_chunk::<16>().ok_or(Error::Short)?;
            let (to, ports) = rest.split_first_chunk::<16>().ok_or(Error::Short)?;
            let [p, q, r, s] = *ports else { return Err(Error::Short) };
            let from = (Ipv6Addr::from(*from), u16::from_be_bytes([p, q]));
            let to = (Ipv6Addr::from(*to), u16::from_be_bytes([r, s]));
            (Some((from.into(), to.into())), notes)
        }
        // Datagrams and files: where their notes begin does not matter here.
        _ => (None, &[][..]),
    };
    let addresses = addresses.filter(|_| !is_local);
    let notes = if is_local { Vec::new() } else { read_notes(notes)? };
    Ok(Some((Origin { addresses, notes }, HEAD_BYTES_V2 + length)))
}

fn read_notes(mut bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Error> {
    let mut notes = Vec::new();
    while !bytes.is_empty() {
        let ([kind, a, b], rest) = bytes.split_first_chunk().ok_or(Error::Short)?;
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Error::Short)?;
        notes.push((*kind, value.to_vec()));
        bytes = rest;
    }
    Ok(notes)
}

// === impl Origin ===

impl Origin {
    /// As a line of version 1, which has no notes.
    pub fn line(&self) -> Result<String, Error> {
        Ok(match self.addresses {
            None => "PROXY UNKNOWN\r\n".to_owned(),
            Some((from, to)) => {
                let family = match (from, to) {
                    (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
                    (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
                    _ => return Err(Error::Families),
                };
                let (from_ip, to_ip) = (from.ip(), to.ip());
                format!("PROXY {family} {from_ip} {to_ip} {} {}\r\n", from.port(), to.port())
            }
        })
    }

    /// In version 2. Without addresses it says nothing but that: no notes.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let mut said = Vec::new();
        let (command, family) = match self.addresses {
            None => (0x20, 0),
            Some((SocketAddr::V4(from), SocketAddr::V4(to))) => {
                said.extend_from_slice(&from.ip().octets());
                said.extend_from_slice(&to.ip().octets());
                (0x21, STREAM_V4)
            }
            Some((SocketAddr::V6(from), SocketAddr::V6(to))) => {
                said.extend_from_slice(&from.ip().octets());
                said.extend_from_slice(&to.ip().octets());
                (0x21, STREAM_V6)
            }
            Some(_) => return Err(Error::Families),
        };
        if let Some((from, to)) = self.addresses {
            said.extend_from_slice(&from.port().to_be_bytes());
            said.extend_from_slice(&to.port().to_be_bytes());
            for (kind, value) in &self.notes {
                let length = u16::try_from(value.len()).map_err(|_| Error::TooLong(value.len()))?;
                said.push(*kind);
                said.extend_from_slice(&length.to_be_bytes());
                said.extend_from_slice(value);
            }
        }
        if said.len() > NOTES_BYTES_MAX {
            return Err(Error::TooLong(said.len()));
        }
        let mut bytes = SIGNATURE_V2.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(said.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&said);
        Ok(bytes)
    }
}
