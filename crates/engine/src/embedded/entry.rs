//! What a frame of the log holds: claims and batches, of any keyspaces.
//!
//! An entry is a kind, the keyspace's number and a length, each four bytes and
//! little-endian, and then the claim's epoch and name, or the stored batch.

use kv::KeyspaceName;

use super::layout::Id;
use crate::{Epoch, stored::Broken};

const RAISED: u32 = 1;
const BATCH: u32 = 2;
const HEADER_BYTES: usize = 12;

pub(super) enum Entry<'a> {
    /// Who may write, from now on.
    Raised { id: Id, epoch: Epoch, name: KeyspaceName },
    /// And where in the frame's body its bytes begin.
    Batch { id: Id, offset: usize, bytes: &'a [u8] },
}

pub(super) fn put_raised(out: &mut Vec<u8>, id: Id, epoch: Epoch, name: &KeyspaceName) {
    let name = name.as_str().as_bytes();
    put_header(out, RAISED, id, 8 + name.len());
    out.extend(epoch.0.to_le_bytes());
    out.extend_from_slice(name);
}

/// Returns where in `out` the batch begins.
pub(super) fn put_batch(out: &mut Vec<u8>, id: Id, stored: &[u8]) -> usize {
    put_header(out, BATCH, id, stored.len());
    let offset = out.len();
    out.extend_from_slice(stored);
    offset
}

/// The entries of a frame's body; ends after the first that is not one.
pub(super) fn decode(body: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Broken>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let entry = entry_at(body, &mut at).ok_or(Broken::Misplaced);
        if entry.is_err() {
            at = body.len();
        }
        Some(entry)
    })
}

fn entry_at<'a>(body: &'a [u8], at: &mut usize) -> Option<Entry<'a>> {
    let mut numbers = body.get(*at..*at + HEADER_BYTES)?.chunks_exact(4);
    let mut number = || Some(u32::from_le_bytes(numbers.next()?.try_into().ok()?));
    let (kind, id, length) = (number()?, Id(number()?), number()? as usize);
    let offset = *at + HEADER_BYTES;
    let bytes = body.get(offset..offset + length)?;
    *at = offset + length;
    match kind {
        RAISED => {
            let (epoch, name) = bytes.split_first_chunk::<8>()?;
            let name = KeyspaceName::new(std::str::from_utf8(name).ok()?).ok()?;
            Some(Entry::Raised { id, epoch: Epoch(u64::from_le_bytes(*epoch)), name })
        }
        BATCH => Some(Entry::Batch { id, offset, bytes }),
        _ => None,
    }
}

fn put_header(out: &mut Vec<u8>, kind: u32, id: Id, length: usize) {
    let length = u32::try_from(length).expect("batches are bounded");
    for number in [kind, id.0, length] {
        out.extend(number.to_le_bytes());
    }
}
