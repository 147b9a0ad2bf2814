//! A file of the log: a header of one page, then frames.
//!
//! Files are prepared before they are needed: all their blocks are written and
//! synced once. From then on a sync of what is written over them has no change
//! of the file system's own tables to wait for, and so nobody else's writes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{OnceLock, atomic::AtomicU64},
    time::Instant,
};

use rt::random::Random;
use rustix::fs::OFlags;
use xxhash_rust::xxh3::xxh3_64;

use super::frame::Salt;

/// Where frames begin.
pub(super) const HEADER_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"POLISWAL";
const FORMAT: u64 = 1;
/// Of five numbers and their checksum.
const HEADER_USED_BYTES: usize = 8 + 4 * 8 + 8;

/// Written in one go while a file is prepared.
const PIECE_BYTES: usize = 512 * 1024;

const EXTENSION: &str = "wal";
/// A file that is being prepared; one that a crash left is removed.
const UNFINISHED: &str = "unfinished";

#[derive(Debug)]
pub(in super::super) struct Segment {
    pub number: u64,
    pub(super) salt: Salt,
    pub(super) cluster_id: u64,
    pub(super) length: u64,
    /// Number of its first frame, once it is its turn.
    pub(super) first_frame: OnceLock<u64>,
    /// Bytes of it that hold frames.
    pub(super) used: AtomicU64,
    path: PathBuf,
    file: File,
    /// The same, past the system's page cache; none where a file system or a
    /// disk does not do that.
    direct: OnceLock<Option<File>>,
}

/// Where a segment goes, and what it is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub folder: &'a Path,
    pub number: u64,
    pub cluster_id: u64,
    pub length: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("its header is damaged")]
    Damaged,
    #[error("it is of format {0}, and this release reads up to {FORMAT}")]
    Newer(u64),
}

/// The numbers of the segments there are, in order. Removes what was never
/// finished.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        match (extension, stem.and_then(|stem| stem.parse().ok())) {
            (Some(EXTENSION), Some(number)) => found.push((number, path)),
            (Some(UNFINISHED), Some(_)) => fs::remove_file(&path)?,
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

// === impl Segment ===

impl Segment {
    /// Makes a file. `written` writes all its blocks, which takes a while.
    pub(super) fn create(plan: Plan<'_>, written: bool) -> io::Result<Segment> {
        let unfinished = plan.path(UNFINISHED);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)?;
        file.set_len(plan.length)?;
        if written {
            write_zeros(&file, plan.length)?;
        }
        Segment::finish(plan, file, &unfinished)
    }

    /// Makes another file of this one, which nobody reads any more.
    pub(super) fn reuse(self, plan: Plan<'_>) -> io::Result<Segment> {
        let unfinished = plan.path(UNFINISHED);
        fs::rename(&self.path, &unfinished)?;
        Segment::finish(Plan { length: self.length, ..plan }, self.file, &unfinished)
    }

    pub(super) fn open(path: &Path, number: u64) -> io::Result<Result<Segment, HeaderError>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_USED_BYTES];
        if length < HEADER_BYTES as u64 || file.read_exact_at(&mut header, 0).is_err() {
            return Ok(Err(HeaderError::Damaged));
        }
        Ok(decode(&header).and_then(|[format, stored_number, salt, cluster_id]| {
            if format > FORMAT {
                return Err(HeaderError::Newer(format));
            }
            if stored_number != number {
                return Err(HeaderError::Damaged);
            }
            let (path, salt) = (path.to_owned(), Salt(salt));
            Ok(Segment {
                first_frame: OnceLock::new(),
                used: AtomicU64::new(0),
                number,
                salt,
                cluster_id,
                length,
                path,
                file,
                direct: OnceLock::new(),
            })
        }))
    }

    /// The whole file.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    pub(in super::super) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Returns when it is durable.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        // Data is enough: what a sync of the file's times would add is not
        // needed to read it again (fdatasync(2)).
        self.file.sync_data()
    }

    /// As [`Segment::write`] in whole aligned blocks; false if that is not how
    /// things are written here, and nothing may be there yet.
    pub(super) fn write_blocks(&self, blocks: &[u8], at: u64) -> io::Result<bool> {
        let Some(direct) = self.direct() else { return Ok(false) };
        match direct.write_all_at(blocks, at) {
            Ok(()) => direct.sync_data().map(|()| true),
            // Larger blocks are asked for, or nothing of the kind is done.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn finish(plan: Plan<'_>, file: File, unfinished: &Path) -> io::Result<Segment> {
        let Plan { number, cluster_id, length, folder } = plan;
        let salt = Salt(Random::from_entropy().next_u64());
        file.write_all_at(&encode([FORMAT, number, salt.0, cluster_id]), 0)?;
        file.sync_all()?;
        let path = plan.path(EXTENSION);
        fs::rename(unfinished, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(Segment {
            first_frame: OnceLock::new(),
            used: AtomicU64::new(0),
            number,
            salt,
            cluster_id,
            length,
            path,
            file,
            direct: OnceLock::new(),
        })
    }

    fn direct(&self) -> Option<&File> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        let open = || OpenOptions::new().write(true).custom_flags(flags).open(&self.path).ok();
        self.direct.get_or_init(open).as_ref()
    }
}

// === impl Plan ===

impl Plan<'_> {
    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{:016}.{extension}", self.number))
    }
}

/// In pieces, with as much time between them as each took, because commits want
/// the disk too.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which may block")]
fn write_zeros(file: &File, length: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < length {
        let start = Instant::now();
        let piece = PIECE_BYTES.min(usize::try_from(length - at).unwrap_or(PIECE_BYTES));
        file.write_all_at(&zeros[..piece], at)?;
        file.sync_data()?;
        at += piece as u64;
        std::thread::sleep(start.elapsed());
    }
    Ok(())
}

/// A header that is believed says what was written.
pub(super) fn fuzz(data: &[u8]) {
    if let Some(header) = data.first_chunk()
        && let Ok(numbers) = decode(header)
    {
        assert_eq!(encode(numbers), header);
    }
    let numbers = data.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    let numbers: Vec<u64> = numbers.take(4).collect();
    if let Ok(numbers) = <[u64; 4]>::try_from(numbers) {
        let header = encode(numbers).try_into().expect("a header is as long as headers are");
        assert!(decode(&header).is_ok_and(|read| read == numbers));
    }
}

fn encode(numbers: [u64; 4]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let checksum = xxh3_64(&header);
    header.extend(checksum.to_le_bytes());
    header
}

fn decode(header: &[u8; HEADER_USED_BYTES]) -> Result<[u64; 4], HeaderError> {
    let (body, checksum) = header.split_last_chunk::<8>().ok_or(HeaderError::Damaged)?;
    let numbers = body.strip_prefix(&MAGIC).ok_or(HeaderError::Damaged)?;
    if xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return Err(HeaderError::Damaged);
    }
    let mut words = numbers.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes));
    let mut word = || words.next().and_then(Result::ok).ok_or(HeaderError::Damaged);
    Ok([word()?, word()?, word()?, word()?])
}
