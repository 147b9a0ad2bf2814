//! The log on disk: numbered files of frames, written by one thread, one
//! synced write at a time.
//!
//! Files are recycled: while one is written the next stands ready, and one
//! that nobody needs any more becomes the one after. A file is needed while
//! anything refers to it, which is what its reference count says.

mod blocks;
mod frame;
pub(super) mod fuzz;
mod segment;
mod shelf;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use self::{
    blocks::{BLOCK_BYTES, Blocks},
    frame::examine,
    segment::HeaderError,
};
pub(super) use self::{
    segment::Segment,
    shelf::{Chore, Shelf},
};
use crate::{Error, Storage};

/// Room for the header that [`Wal::append`] fills in.
pub(super) const FRAME_HEADER_BYTES: usize = frame::HEADER_BYTES;

/// How far beyond its length a file may grow: enough for seconds of writes.
const GROWTH_MAX: u64 = 4;

/// The end of the log, which only the committer holds.
#[derive(Debug)]
pub(super) struct Wal {
    shelf: Arc<Shelf>,
    current: Arc<Segment>,
    /// Where the next frame goes, and its number.
    at: u64,
    number: u64,
    blocks: Blocks,
}

/// What was found on opening.
pub(super) struct Recovered {
    /// In order.
    pub segments: Vec<Arc<Segment>>,
    /// Where the last of them ends, and the number of the frame after it.
    at: u64,
    number: u64,
    /// Highest number of any file.
    pub last: u64,
}

// === impl Wal ===

impl Wal {
    /// Goes on where the log ends.
    pub fn new(shelf: Arc<Shelf>, recovered: Recovered) -> io::Result<Wal> {
        let Recovered { mut segments, at, number, last: _ } = recovered;
        let (current, at) = match segments.pop() {
            Some(last) => (last, at),
            None => (Arc::new(shelf.first()?), segment::HEADER_BYTES as u64),
        };
        current.first_frame.get_or_init(|| number);
        shelf.adopt(segments, &current);
        let begun = at % BLOCK_BYTES as u64;
        let begun = current.read(at - begun, begun as usize)?;
        Ok(Wal { shelf, current, at, number, blocks: Blocks::new(&begun) })
    }

    /// Makes a frame durable, for whose header there is room at its start.
    /// Returns where it stands.
    pub fn append(&mut self, frame: &mut Vec<u8>) -> io::Result<(Arc<Segment>, u64)> {
        let end = self.at + frame.len().next_multiple_of(8) as u64;
        let is_full = end > self.current.length;
        // The next file is late: better to grow this one for a while, at a
        // plain file's speed, than to wait.
        let may_grow = end <= self.current.length * GROWTH_MAX;
        if is_full && (self.shelf.is_ready() || !may_grow) {
            self.rotate(frame.len())?;
        }
        frame::seal(frame, self.number, self.current.salt);
        let at = self.at;
        let is_written = match self.blocks.with(frame) {
            Some((blocks, before)) => self.current.write_blocks(blocks, at - before)?,
            None => false,
        };
        if !is_written {
            self.current.write(frame, at)?;
        }
        self.blocks.wrote(frame);
        self.at += frame.len() as u64;
        self.current.used.store(self.at, Relaxed);
        self.number += 1;
        Ok((self.current.clone(), at))
    }

    /// Ends the file that is written, so that all of it can be given back.
    pub fn rotate(&mut self, frame_bytes: usize) -> io::Result<()> {
        let least = (segment::HEADER_BYTES + frame_bytes.next_multiple_of(8)) as u64;
        let next = Arc::new(self.shelf.take(least)?);
        next.first_frame.get_or_init(|| self.number);
        let full = std::mem::replace(&mut self.current, next);
        self.at = segment::HEADER_BYTES as u64;
        self.blocks.begin(&[]);
        self.shelf.adopt(vec![full], &self.current);
        Ok(())
    }
}

/// Where the log begins: files before it have been given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub segment: u64,
    /// Number of its first frame.
    pub frame: u64,
}

/// Reads every frame from `start` on, in order, and hands each to `see` with
/// where its body stands. `None` is a log that never gave anything back.
pub(super) fn recover(
    folder: &Path,
    cluster_id: u64,
    start: Option<Start>,
    mut see: impl FnMut(&Arc<Segment>, u64, &[u8]) -> Result<(), Error>,
) -> Result<Recovered, Error> {
    let failed = |error: io::Error| Error::open(folder, Storage::from(error));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let number = start.map_or(1, |start| start.frame);
    let mut recovered = Recovered { segments: Vec::new(), at: 0, number, last: 0 };
    let mut found = segment::list(folder).map_err(failed)?;
    if let Some(start) = start {
        // A crash came between a file's end and its next use.
        while found.first().is_some_and(|(number, _)| *number < start.segment) {
            std::fs::remove_file(found.remove(0).1).map_err(failed)?;
        }
        if found.first().is_none_or(|(number, _)| *number != start.segment) {
            let path = folder.join(format!("{:016}.wal", start.segment));
            return Err(Error::CorruptJournal { path, at: 0 });
        }
    }
    // Files that stand ready hold no frames: they are made ready again.
    let mut ready: Vec<PathBuf> = Vec::new();
    for (number, path) in found {
        let hurt = |at: usize| Error::CorruptJournal { path: path.clone(), at };
        let segment = match Segment::open(&path, number).map_err(failed)? {
            Ok(segment) if segment.cluster_id == cluster_id => Arc::new(segment),
            Ok(_) | Err(HeaderError::Damaged) => return Err(hurt(0)),
            Err(newer @ HeaderError::Newer(_)) => {
                let why = Storage(format!("{}: {newer}", path.display()));
                return Err(Error::open(folder, why));
            }
        };
        let bytes = segment.read_all().map_err(failed)?;
        recovered.last = number;
        // Also when the end of the file before is missing: then the numbers
        // here do not go on from there.
        let examined = examine(&bytes, segment::HEADER_BYTES, recovered.number, segment.salt);
        if examined.is_hurt {
            return Err(hurt(examined.end));
        }
        let Some(first) = examined.frames.first() else {
            if recovered.segments.is_empty() {
                recovered.segments.push(segment);
                recovered.at = segment::HEADER_BYTES as u64;
            } else {
                ready.push(path);
            }
            continue;
        };
        segment.first_frame.get_or_init(|| first.number);
        for frame in &examined.frames {
            see(&segment, frame.body.start as u64, &bytes[frame.body.clone()])?;
            recovered.number = frame.number + 1;
        }
        segment.used.store(examined.end as u64, Relaxed);
        recovered.at = examined.end as u64;
        recovered.segments.push(segment);
    }
    for path in ready {
        std::fs::remove_file(&path).map_err(failed)?;
    }
    Ok(recovered)
}
