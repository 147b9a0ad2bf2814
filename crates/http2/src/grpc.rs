//! What gRPC adds to HTTP/2 around one message and one status.

use std::{fmt::Write as _, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{Field, Head};

/// A flag, and four bytes of length.
pub const PREFIX_BYTES: usize = 5;

/// gRPC's numbers for why a call failed, those that are said here.
pub const DEADLINE_EXCEEDED: u32 = 4;
pub const OUT_OF_RANGE: u32 = 11;
pub const UNIMPLEMENTED: u32 = 12;
pub const INTERNAL: u32 = 13;

/// The answer to a call with one message each way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With its prefix.
    Message(Bytes),
    /// The status, and what goes with it.
    Refused(Vec<Field>),
}

/// Why a body holds no message, in tonic's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    TooLarge {
        found: usize,
        limit: usize,
    },
    Compressed,
    BadFlag(u8),
    /// The body ended first.
    Missing,
}

/// The first message of a whole body.
pub fn message(body: &Bytes, bytes_max: usize) -> Result<Bytes, Unread> {
    let length = length(body, bytes_max)?.ok_or(Unread::Missing)?;
    let end = PREFIX_BYTES + length;
    if body.len() < end { Err(Unread::Missing) } else { Ok(body.slice(PREFIX_BYTES..end)) }
}

/// How long the first message is, once its prefix is there.
pub fn length(body: &[u8], bytes_max: usize) -> Result<Option<usize>, Unread> {
    let Some([flag, length @ ..]) = body.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    match flag {
        0 => {}
        1 => return Err(Unread::Compressed),
        flag => return Err(Unread::BadFlag(*flag)),
    }
    let found = u32::from_be_bytes(*length) as usize;
    if found > bytes_max {
        return Err(Unread::TooLarge { found, limit: bytes_max });
    }
    Ok(Some(found))
}

/// A message's prefix and room for it.
#[must_use]
pub fn prefixed(length: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.extend_from_slice(&[0]);
    out.extend_from_slice(&u32::try_from(length).expect("messages are below 4 GiB").to_be_bytes());
    out
}

/// A message behind room for its prefix, with that filled in.
#[must_use]
pub fn with_prefix(mut message: Vec<u8>) -> Bytes {
    let length = u32::try_from(message.len() - PREFIX_BYTES).expect("messages are below 4 GiB");
    message[0] = 0;
    message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    message.into()
}

/// What a caller waits at most: digits and a unit. One that says nothing
/// sensible has no deadline.
#[must_use]
pub fn timeout(head: &Head) -> Option<Duration> {
    let value = head.get("grpc-timeout")?;
    let (unit, digits) = value.split_last()?;
    // Eight digits, says gRPC.
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// A status as fields.
#[must_use]
pub fn status(code: u32, message: &str) -> Vec<Field> {
    let field =
        |name: &'static str, value: String| Field { name: name.into(), value: value.into() };
    let mut fields = vec![field("grpc-status", code.to_string())];
    if !message.is_empty() {
        fields.push(field("grpc-message", escaped(message)));
    }
    fields
}

fn escaped(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    out
}

// === impl Unread ===

impl Unread {
    /// gRPC's number for it, and what is said.
    #[must_use]
    pub fn status(self) -> (u32, String) {
        match self {
            Unread::TooLarge { found, limit } => (
                OUT_OF_RANGE,
                format!("Error, decoded message length too large: found {found} bytes, the limit is: {limit} bytes"),
            ),
            Unread::Compressed => (
                INTERNAL,
                "protocol error: received message with compressed-flag but no grpc-encoding was specified".into(),
            ),
            Unread::BadFlag(flag) => (
                INTERNAL,
                format!("protocol error: received message with invalid compression flag: {flag} (valid flags are 0 and 1) while receiving request"),
            ),
            Unread::Missing => (INTERNAL, "Missing request message.".into()),
        }
    }
}

// === impl Answer ===

impl From<Unread> for Answer {
    fn from(unread: Unread) -> Answer {
        let (code, message) = unread.status();
        Answer::Refused(status(code, &message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_first_message_or_says_why_not() {
        let read = |body: &'static [u8]| message(&Bytes::from_static(body), 3);
        assert_eq!(read(b"\0\0\0\0\x02hi"), Ok(Bytes::from_static(b"hi")));
        assert_eq!(read(b"\0\0\0\0\x02hi\0\0\0"), Ok(Bytes::from_static(b"hi")));
        assert_eq!(read(b"\0\0\0\0\x02h"), Err(Unread::Missing));
        assert_eq!(read(b"\0\0\0"), Err(Unread::Missing));
        assert_eq!(read(b"\x01\0\0\0\x01h"), Err(Unread::Compressed));
        assert_eq!(read(b"\x07\0\0\0\x01h"), Err(Unread::BadFlag(7)));
        assert_eq!(read(b"\0\0\0\0\x04long"), Err(Unread::TooLarge { found: 4, limit: 3 }));
    }

    #[test]
    fn timeouts_are_those_of_grpc() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("20M", Some(Duration::from_secs(1200))),
            ("3S", Some(Duration::from_secs(3))),
            ("15m", Some(Duration::from_millis(15))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("S", None),
            ("+1S", None),
            ("1", None),
            ("1x", None),
            ("", None),
        ] {
            let field = Field { name: "grpc-timeout".into(), value: value.into() };
            let head = Head { fields: vec![field], ..Head::default() };
            assert_eq!(timeout(&head), expected, "{value:?}");
        }
    }

    #[test]
    fn what_headers_cannot_carry_is_escaped() {
        let fields = status(5, "50% größer\n");
        assert_eq!(fields[0].value, "5");
        assert_eq!(fields[1].value, "50%25 gr%C3%B6%C3%9Fer%0A");
        assert_eq!(status(0, "").len(), 1);
    }
}
