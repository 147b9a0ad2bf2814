//! Around a message: who it is (`runtime.Unknown`), lists, frames of a watch.

use super::{
    Error,
    wire::{BYTES, Item, Items, put_bytes, put_message, put_tag, put_varint},
};

/// What every body in protobuf starts with.
pub const MAGIC: &[u8] = b"k8s\0";

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A message and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub message: &'a [u8],
}

// === impl Envelope ===

impl Envelope<'_> {
    pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, Error> {
        let unknown = bytes.strip_prefix(MAGIC).ok_or(Error::Prefix)?;
        if unknown.is_empty() {
            return Err(Error::Empty);
        }
        let mut envelope = Envelope::default();
        for item in Items(unknown) {
            match item? {
                (1, Item::Bytes(type_meta)) => {
                    for item in Items(type_meta) {
                        match item? {
                            (1, Item::Bytes(text)) => envelope.api_version = utf8(text)?,
                            (2, Item::Bytes(text)) => envelope.kind = utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (2, Item::Bytes(message)) => envelope.message = message,
                // contentEncoding and contentType are empty for a plain message.
                (3 | 4, Item::Bytes(text @ [_, ..])) => {
                    return Err(Error::Foreign(String::from_utf8_lossy(text).into()));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }
}

/// A body of one message.
#[must_use]
pub fn seal(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = head(api_version, kind, message.len());
    out.extend_from_slice(message);
    out
}

/// The start of a list's body, when its items, written by [`super::write`],
/// follow in `items`: each gets its tag and length, the whole its length in
/// front. What is returned is sent in order; nothing is copied together.
#[must_use]
pub fn list(api_version: &str, kind: &str, list_meta: &[u8], items: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut meta = Vec::with_capacity(list_meta.len() + 8);
    put_bytes(&mut meta, 1, list_meta);
    let len = meta.len() + items.iter().map(|item| field_len(item.len())).sum::<usize>();
    let mut out = head(api_version, kind, len);
    out.append(&mut meta);
    let mut chunks = Vec::new();
    for item in items {
        put_bytes(&mut out, 2, &item);
        if out.len() >= CHUNK_BYTES {
            chunks.push(std::mem::take(&mut out));
        }
    }
    chunks.push(out);
    chunks
}

/// A frame of a watch: its length, then a `WatchEvent` whose object is a
/// sealed body.
#[must_use]
pub fn frame(event: &str, sealed: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, event.as_bytes());
    let _ = put_message(&mut out, 2, |out| {
        put_bytes(out, 1, sealed);
        Ok::<(), std::convert::Infallible>(())
    });
    // Far below 4 GiB: the store bounds values at a few MiB.
    let len = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_be_bytes());
    out
}

/// Small enough to be sent early, large enough to be worth a call.
const CHUNK_BYTES: usize = 64 << 10;

fn head(api_version: &str, kind: &str, message_len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + api_version.len() + kind.len() + 32);
    out.extend_from_slice(MAGIC);
    let _ = put_message(&mut out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
        Ok::<(), std::convert::Infallible>(())
    });
    // Written even when empty, as Kubernetes does; before the message, so that
    // it may be sent as it is made.
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    put_tag(&mut out, 2, BYTES);
    put_varint(&mut out, message_len as u64);
    out
}

/// Of a field with a one-byte tag.
fn field_len(len: usize) -> usize {
    let varint_len = (64 - (len as u64 | 1).leading_zeros() as usize).div_ceil(7);
    1 + varint_len + len
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::Value { field: "typeMeta".into(), why: "invalid UTF-8" })
}
