//! What must hold of the log's files for any bytes, as the fuzz targets ask.
//!
//! Checksums keep random bytes from getting far, so each rule is asked twice:
//! of the bytes as they are, and of a file that was made from them and then
//! damaged as they say.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    journal::{self, Verdict},
    wal::fuzz as wal,
};

/// Frames of one file.
const PIECES_MAX: usize = 12;

/// A file of the log: what is read is what was written, and damage before a
/// whole frame is noticed.
pub fn segment(data: &[u8]) {
    wal::raw(data);
    let (pieces, damage) = pieces(data);
    wal::frames(&pieces, |bytes| hurt(bytes, damage));
}

/// The journal of the trees: whatever is cut off where it is broken is whole.
pub fn journal(data: &[u8]) {
    mends(data);
    let (pieces, damage) = pieces(data);
    let mut bytes = Vec::new();
    for (seqno, piece) in (1..).zip(pieces) {
        bytes.extend(write(seqno, piece));
    }
    assert_eq!(journal::examine(&bytes), Verdict::Clean);
    hurt(&mut bytes, damage);
    mends(&bytes);
}

fn mends(bytes: &[u8]) {
    if let Verdict::Broken { at } = journal::examine(bytes) {
        assert_eq!(journal::examine(&bytes[..at]), Verdict::Clean, "cut at {at}");
    }
}

/// A write of one item.
fn write(seqno: u64, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("pieces are short").to_le_bytes();
    let tree = 7u64.to_le_bytes();
    let items = [&[2, 0, 0][..], &tree, &3u16.to_le_bytes(), &length, &length, b"key", value];
    let items = items.concat();
    let head = [&[1][..], &1u32.to_le_bytes(), &seqno.to_le_bytes()].concat();
    [&head[..], &items, &[3], &xxh3_64(&items).to_le_bytes(), b"FJL\x03"].concat()
}

/// Pieces, each behind its length, until a length of 255; and what is left.
fn pieces(mut data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut pieces = Vec::new();
    while pieces.len() < PIECES_MAX
        && let Some((length, rest)) = data.split_first()
    {
        data = rest;
        if *length == u8::MAX {
            break;
        }
        let (piece, rest) = data.split_at(usize::from(*length).min(data.len()));
        (data, _) = (rest, pieces.push(piece));
    }
    (pieces, data)
}

/// Where, and what is changed there; or, for a change of nothing, where it ends.
fn hurt(bytes: &mut Vec<u8>, damage: &[u8]) {
    for change in damage.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match (bytes.get_mut(at), change[2]) {
            (Some(_), 0) => bytes.truncate(at),
            (Some(byte), mask) => *byte ^= mask,
            (None, _) => {}
        }
    }
}
