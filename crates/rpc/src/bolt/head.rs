//! What stands at the same place in every frame.

use super::{Error, HEADER_BYTES_MAX};

/// Of the class, the header and the content.
const LENGTHS_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub version: Version,
    pub kind: Kind,
    pub command: Command,
    /// Of the command; 1 everywhere so far.
    pub command_version: u8,
    pub id: u32,
    /// How the content is serialized.
    pub codec: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    /// `revision` 1 has no checksum, whatever the switches say.
    V2 {
        revision: u8,
        switches: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Response { status: u16 },
    Request { timeout_ms: u32 },
    OneWay { timeout_ms: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command(pub u16);

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub class: u16,
    pub header: u16,
    pub content: u32,
}

// === impl Command ===

impl Command {
    pub const HEARTBEAT: Command = Command(0);
    pub const REQUEST: Command = Command(1);
    pub const RESPONSE: Command = Command(2);
    /// Of MOSN; what SOFARPC releases does not know it, and closes for it.
    pub const GO_AWAY: Command = Command(100);
}

// === impl Version ===

impl Version {
    pub(super) fn is_checked(self) -> bool {
        matches!(self, Version::V2 { revision: 2, switches } if switches & 1 == 1)
    }

    /// Where the kind stands; the id and the rest stand behind it.
    fn kind_at(self) -> usize {
        match self {
            Version::V1 => 1,
            Version::V2 { .. } => 2,
        }
    }

    pub(super) fn id_at(self) -> usize {
        self.kind_at() + 4
    }

    /// Behind the id, the codec and, in version 2, the switches.
    pub(super) fn timeout_at(self) -> usize {
        self.id_at() + 5 + usize::from(matches!(self, Version::V2 { .. }))
    }
}

// === impl Head ===

impl Head {
    /// None if more bytes are needed.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Head, Lengths, usize)>, Error> {
        let version = match *bytes {
            [1, ..] => Version::V1,
            [2] | [] => return Ok(None),
            // The switches come later.
            [2, revision @ 1..=2, ..] => Version::V2 { revision, switches: 0 },
            [2, other, ..] | [other, ..] => return Err(Error::UnknownVersion(other)),
        };
        let rest = &bytes[version.kind_at()..];
        let is_response = match rest.first() {
            None => return Ok(None),
            Some(0) => true,
            Some(1 | 2) => false,
            Some(other) => return Err(Error::UnknownKind(*other)),
        };
        Ok(Head::read_rest(version, is_response, rest)
            .map(|(head, lengths, read)| (head, lengths, version.kind_at() + read)))
    }

    fn read_rest(
        version: Version,
        is_response: bool,
        bytes: &[u8],
    ) -> Option<(Head, Lengths, usize)> {
        let ([kind, c, d, command_version, i, j, k, l, codec], mut rest) =
            bytes.split_first_chunk()?;
        let version = match version {
            Version::V1 => version,
            Version::V2 { revision, .. } => {
                let ([switches], behind) = rest.split_first_chunk()?;
                rest = behind;
                Version::V2 { revision, switches: *switches }
            }
        };
        let kind = if is_response {
            let (status, behind) = rest.split_first_chunk()?;
            rest = behind;
            Kind::Response { status: u16::from_be_bytes(*status) }
        } else {
            let (timeout, behind) = rest.split_first_chunk()?;
            rest = behind;
            let timeout_ms = u32::from_be_bytes(*timeout);
            if *kind == 1 { Kind::Request { timeout_ms } } else { Kind::OneWay { timeout_ms } }
        };
        let ([a, b, h, g, lengths @ ..], behind) = rest.split_first_chunk::<LENGTHS_BYTES>()?;
        let lengths = Lengths {
            class: u16::from_be_bytes([*a, *b]),
            header: u16::from_be_bytes([*h, *g]),
            content: u32::from_be_bytes(*lengths),
        };
        let command = Command(u16::from_be_bytes([*c, *d]));
        let id = u32::from_be_bytes([*i, *j, *k, *l]);
        let head =
            Head { version, kind, command, command_version: *command_version, id, codec: *codec };
        Some((head, lengths, bytes.len() - behind.len()))
    }

    pub(super) fn write(self, lengths: Lengths, out: &mut Vec<u8>) {
        match self.version {
            Version::V1 => out.push(1),
            Version::V2 { revision, .. } => out.extend_from_slice(&[2, revision]),
        }
        out.push(match self.kind {
            Kind::Response { .. } => 0,
            Kind::Request { .. } => 1,
            Kind::OneWay { .. } => 2,
        });
        out.extend_from_slice(&self.command.0.to_be_bytes());
        out.push(self.command_version);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(self.codec);
        if let Version::V2 { switches, .. } = self.version {
            out.push(switches);
        }
        match self.kind {
            Kind::Response { status } => out.extend_from_slice(&status.to_be_bytes()),
            Kind::Request { timeout_ms } | Kind::OneWay { timeout_ms } => {
                out.extend_from_slice(&timeout_ms.to_be_bytes());
            }
        }
        out.extend_from_slice(&lengths.class.to_be_bytes());
        out.extend_from_slice(&lengths.header.to_be_bytes());
        out.extend_from_slice(&lengths.content.to_be_bytes());
    }
}

// === impl Lengths ===

impl Lengths {
    /// Of all that follows the head, if no more than `max`.
    pub fn total(self, head_bytes: usize, checked: bool, max: usize) -> Result<usize, Error> {
        for signed in [self.class, self.header] {
            if usize::from(signed) > HEADER_BYTES_MAX {
                return Err(Error::HeaderTooLarge(signed.into()));
            }
        }
        let sum = u64::from(self.class) + u64::from(self.header) + u64::from(self.content);
        let bytes = sum + head_bytes as u64 + if checked { 4 } else { 0 };
        match usize::try_from(bytes) {
            Ok(total) if total <= max => Ok(total),
            _ => Err(Error::TooLarge { bytes, max }),
        }
    }
}
