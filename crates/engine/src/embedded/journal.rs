//! The trees' journal, looked at before the library opens it.
//!
//! It is synced only when a file of our own log is given back, so after a crash
//! it may end in writes of which the disk kept any part. The library refuses
//! some of those; so we cut the journal off at the first write that is not
//! whole. Nothing is lost by it: what was written after the last sync stands in
//! our log still. And when the damage lies before that sync, the trees fall
//! back to where our log does not reach any more, which is noticed as a hole.
//!
//! Format (fjall 3, `journal/entry.rs`): a write is `1` count:u32 seqno:u64,
//! then its items, then `3` xxh3-of-items:u64 `FJL\3`. An item is `2` type:u8
//! compression:u8 tree:u64 key:u16 value:u32 stored:u32, key, stored value; or
//! `4` tree:u64. Numbers are little-endian. Behind the last write is zeros.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::Error;

const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

const ZEROS: [u8; 4096] = [0; 4096];
const PIECE_BYTES: usize = 256 * 1024;

/// What a journal's bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    /// Here stands something that is no whole write.
    Broken {
        at: usize,
    },
}

/// Checks all journals in `folder`, and cuts the newest where it is not whole.
/// The caller holds the folder's lock.
pub(super) fn mend(folder: &Path) -> Result<(), Error> {
    let mut journals = journals(folder).map_err(|error| Error::open(folder, error))?;
    // Only the newest is written to; the others were synced when it was begun.
    let newest = journals.pop();
    for path in journals {
        match examine(&read(&path)?) {
            Verdict::Clean => {}
            Verdict::Broken { at } => return Err(Error::CorruptJournal { path, at }),
        }
    }
    let Some(path) = newest else {
        return Ok(());
    };
    match examine(&read(&path)?) {
        Verdict::Clean => Ok(()),
        Verdict::Broken { at } => {
            tracing::warn!(path = %path.display(), at, "removing writes that a crash cut short");
            cut(&path, at as u64).map_err(|error| Error::open(&path, error))
        }
    }
}

/// By number, which is the order they were written in.
pub(super) fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|extension| extension == "jnl")
        {
            journals.push((number, path));
        }
    }
    journals.sort_unstable();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Nothing was ever written to it.
pub(super) fn is_blank(path: &Path) -> io::Result<bool> {
    Ok(is_zeros(&read_sparse(path)?))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_sparse(path).map_err(|error| Error::open(path, error))
}

/// The whole file. Most of a fresh journal is zeros, and those do not become
/// resident: fresh memory is zero by itself.
fn read_sparse(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let mut piece = vec![0; PIECE_BYTES];
    for target in bytes.chunks_mut(PIECE_BYTES) {
        let piece = &mut piece[..target.len()];
        file.read_exact(piece)?;
        if !is_zeros(piece) {
            target.copy_from_slice(piece);
        }
    }
    Ok(bytes)
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

pub(super) fn examine(bytes: &[u8]) -> Verdict {
    let bytes = without_zeros(bytes);
    let (mut at, mut last) = (0, None);
    while let Some((end, seqno)) = write_at(bytes, at) {
        if Some(seqno) <= last {
            // No checksum covers the number that decides which write of a key
            // is the newest; but it must rise.
            return Verdict::Broken { at };
        }
        (at, last) = (end, Some(seqno));
    }
    if is_zeros(&bytes[at..]) {
        return Verdict::Clean;
    }
    Verdict::Broken { at }
}

/// Without most of the zeros at the end: a fresh journal is 64 MiB of them.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let used = bytes.chunks(ZEROS.len()).rposition(|chunk| *chunk != ZEROS[..chunk.len()]);
    let end = used.map_or(0, |chunk| (chunk + 1) * ZEROS.len());
    &bytes[..end.min(bytes.len())]
}

/// The end and the number of the whole write that starts at `at`, if there is
/// one.
fn write_at(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let mut input = Input { bytes, at };
    if input.number::<1>()? != u64::from(TAG_START) {
        return None;
    }
    let count = input.number::<4>()?;
    let seqno = input.number::<8>()?;
    let items_from = input.at;
    for _ in 0..count {
        input.item()?;
    }
    let items = &bytes[items_from..input.at];
    if input.number::<1>()? != u64::from(TAG_END) {
        return None;
    }
    let checksum = input.number::<8>()?;
    let whole = input.take(TRAILER.len())? == TRAILER && checksum == xxh3_64(items);
    whole.then_some((input.at, seqno))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

// === impl Input ===

impl<'a> Input<'a> {
    fn item(&mut self) -> Option<()> {
        match self.number::<1>()? as u8 {
            TAG_ITEM => {
                let _type_compression_tree = self.take(1 + 1 + 8)?;
                let key = self.number::<2>()?;
                let _value = self.number::<4>()?;
                let stored = self.number::<4>()?;
                self.take(usize::try_from(key + stored).ok()?)?;
            }
            TAG_CLEAR => {
                self.take(8)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let bytes = self.take(N)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(seqno: u64, value: &[u8]) -> Vec<u8> {
        let mut items = vec![TAG_ITEM, 0, 0];
        items.extend(7u64.to_le_bytes());
        items.extend(3u16.to_le_bytes());
        items.extend((value.len() as u32).to_le_bytes());
        items.extend((value.len() as u32).to_le_bytes());
        items.extend(b"key");
        items.extend(value);
        let mut write = vec![TAG_START];
        write.extend(1u32.to_le_bytes());
        write.extend(seqno.to_le_bytes());
        write.extend(&items);
        write.push(TAG_END);
        write.extend(xxh3_64(&items).to_le_bytes());
        write.extend(TRAILER);
        write
    }

    #[test]
    fn what_is_not_whole_is_found_where_it_begins() {
        let (first, last) = (write(1, b"one"), write(2, &[5; 9000]));
        let journal = [&first[..], &last, &[0; 20_000]].concat();
        assert_eq!(examine(&journal), Verdict::Clean);
        assert_eq!(examine(&[]), Verdict::Clean);
        assert_eq!(examine(&[0; 9999]), Verdict::Clean);
        for end in (first.len() + 1..first.len() + last.len()).step_by(97) {
            assert_eq!(examine(&journal[..end]), Verdict::Broken { at: first.len() }, "{end}");
        }
        // The disk kept the end of the last write but not its middle.
        let mut holed = journal.clone();
        holed[first.len() + 100..first.len() + 5000].fill(0);
        assert_eq!(examine(&holed), Verdict::Broken { at: first.len() });
        for byte in 0..first.len() {
            let mut hurt = journal.clone();
            hurt[byte] ^= 2;
            // A number that was raised is noticed where the next is no higher.
            let at = if (5..13).contains(&byte) { first.len() } else { 0 };
            assert_eq!(examine(&hurt), Verdict::Broken { at }, "{byte}");
        }
    }
}
