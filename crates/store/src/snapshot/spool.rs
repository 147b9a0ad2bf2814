//! Entries on disk in runs, each sorted, and read together in order.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use bytes::Bytes;

use super::layout::{At, Entry};

/// A run is read through this much memory, and a keyspace of ten gigabytes has
/// some hundred runs.
const READ_BYTES: usize = 64 * 1024;
const WRITE_BYTES: usize = 256 * 1024;

/// at: main and sub, deleted, length of key, length of value.
const HEAD_BYTES: usize = 8 + 8 + 1 + 4 + 4;

/// A file that runs are written to, one after the other.
#[derive(Debug)]
pub(super) struct Spool {
    out: BufWriter<File>,
    file: Arc<File>,
    /// Where the run being written starts, and where it has come to.
    start: u64,
    end: u64,
}

/// A sorted part of the file.
#[derive(Clone, Debug)]
pub(super) struct Run {
    file: Arc<File>,
    start: u64,
    end: u64,
}

/// Entries of a run, in order.
#[derive(Debug)]
pub(super) struct Entries {
    input: BufReader<Part>,
}

/// Entries of several runs, in order.
#[derive(Debug)]
pub(super) struct Merged {
    runs: Vec<Entries>,
    /// The next entry of each run that has one.
    heads: BinaryHeap<Reverse<(At, usize)>>,
    next: Vec<Option<Entry>>,
}

/// The rest of a run, as a stream.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

// === impl Spool ===

impl Spool {
    pub fn new(file: File) -> io::Result<Spool> {
        let reader = Arc::new(file.try_clone()?);
        let out = BufWriter::with_capacity(WRITE_BYTES, file);
        Ok(Spool { out, file: reader, start: 0, end: 0 })
    }

    /// Adds to the run being written; entries come in order.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let length = |bytes: &Bytes| {
            u32::try_from(bytes.len()).map_err(|_| io::Error::other("an entry of 4 GiB"))
        };
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&entry.at.main.to_le_bytes());
        head[8..16].copy_from_slice(&entry.at.sub.to_le_bytes());
        head[16] = u8::from(entry.deleted);
        head[17..21].copy_from_slice(&length(&entry.key)?.to_le_bytes());
        head[21..].copy_from_slice(&length(&entry.value)?.to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(&entry.key)?;
        self.out.write_all(&entry.value)?;
        self.end += (HEAD_BYTES + entry.key.len() + entry.value.len()) as u64;
        Ok(())
    }

    /// Ends the run being written and begins another.
    pub fn end_run(&mut self) -> io::Result<Run> {
        self.out.flush()?;
        let run = Run { file: self.file.clone(), start: self.start, end: self.end };
        self.start = self.end;
        Ok(run)
    }
}

// === impl Run ===

impl Run {
    pub fn entries(&self) -> Entries {
        let part = Part { file: self.file.clone(), at: self.start, end: self.end };
        Entries { input: BufReader::with_capacity(READ_BYTES, part) }
    }
}

// === impl Entries ===

impl Entries {
    fn read(&mut self) -> io::Result<Option<Entry>> {
        let mut head = [0; HEAD_BYTES];
        if self.input.get_ref().at == self.input.get_ref().end && self.input.buffer().is_empty() {
            return Ok(None);
        }
        self.input.read_exact(&mut head)?;
        let number = |from: usize, to: usize| {
            head[from..to].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let at = At { main: number(0, 8), sub: number(8, 16) };
        let (key, value) = (self.part(number(17, 21))?, self.part(number(21, 25))?);
        Ok(Some(Entry { at, deleted: head[16] != 0, key, value }))
    }

    fn part(&mut self, length: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        self.read().transpose()
    }
}

// === impl Merged ===

impl Merged {
    pub fn new<'a>(runs: impl IntoIterator<Item = &'a Run>) -> io::Result<Merged> {
        let runs: Vec<_> = runs.into_iter().map(Run::entries).collect();
        let next = runs.iter().map(|_| None).collect();
        let mut merged = Merged { runs, heads: BinaryHeap::new(), next };
        for run in 0..merged.runs.len() {
            merged.step(run)?;
        }
        Ok(merged)
    }

    fn step(&mut self, run: usize) -> io::Result<()> {
        let entry = self.runs[run].read()?;
        if let Some(entry) = &entry {
            self.heads.push(Reverse((entry.at, run)));
        }
        self.next[run] = entry;
        Ok(())
    }
}

impl Iterator for Merged {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        let Reverse((_, run)) = self.heads.pop()?;
        let entry = self.next[run].take().expect("a head has its entry");
        Some(self.step(run).map(|()| entry))
    }
}

// === impl Part ===

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = left.min(out.len());
        let count = self.file.read_at(&mut out[..length], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Scratch, *};

    #[test]
    fn runs_are_read_together_in_order() {
        let scratch = Scratch::new(std::env::temp_dir());
        let mut spool = Spool::new(scratch.file().expect("a file")).expect("a spool");
        let entry = |main| Entry {
            at: At { main, sub: main % 3 },
            deleted: main % 2 == 0,
            key: vec![1; main as usize % 50].into(),
            value: vec![2; main as usize * 7].into(),
        };
        let mut runs = Vec::new();
        for run in 0..7u64 {
            for main in (run..1000).step_by(7) {
                spool.write(&entry(main)).expect("written");
            }
            runs.push(spool.end_run().expect("a run"));
        }
        runs.push(spool.end_run().expect("an empty run"));
        let merged: Vec<_> =
            Merged::new(&runs).expect("readable").map(|entry| entry.expect("readable")).collect();
        assert_eq!(merged, (0..1000).map(entry).collect::<Vec<_>>());
    }
}
