//! One attempt's output on its way from the spools to the log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::watch;

use super::{
    LOG_FILE_MAX,
    format::{self, Stream, TEXT_MAX},
    log, rotated,
};

/// Read at once from a spool.
const CHUNK: usize = 64 << 10;

/// Consumed bytes that wait to be punched out: a system call per MiB.
const PUNCH_STEP: u64 = 1 << 20;

/// What followers of a log wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub written: u64,
    /// Nothing will follow.
    pub closed: bool,
}

pub(crate) struct Capture {
    spools: [Spool; 2],
    offsets: File,
    folder: PathBuf,
    attempt: u32,
    log: File,
    log_len: u64,
    progress: watch::Sender<Progress>,
}

struct Spool {
    stream: Stream,
    path: PathBuf,
    file: File,
    /// Everything before is in the log.
    consumed: u64,
    punched: u64,
}

// === impl Capture ===

impl Capture {
    /// Creates the spools, or goes on with those of a running attempt.
    pub(crate) fn open(folder: &Path, attempt: u32) -> io::Result<Capture> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let offsets = options.open(folder.join(format!("{attempt}.offsets")))?;
        let mut saved = [0; 16];
        // A short file is a new one: both offsets are 0.
        let saved = match offsets.read_exact_at(&mut saved, 0) {
            Ok(()) => u128::from_le_bytes(saved),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        let (out, err) = (saved as u64, (saved >> 64) as u64);
        let log = OpenOptions::new().append(true).create(true).open(log(folder, attempt))?;
        Ok(Capture {
            spools: [
                Spool::open(folder, attempt, Stream::Out, out)?,
                Spool::open(folder, attempt, Stream::Err, err)?,
            ],
            offsets,
            folder: folder.to_owned(),
            attempt,
            log_len: log.metadata()?.len(),
            log,
            progress: watch::Sender::default(),
        })
    }

    /// Standard output and error for the process.
    pub(crate) fn ends(&self) -> io::Result<[File; 2]> {
        let append = |spool: &Spool| OpenOptions::new().append(true).open(&spool.path);
        Ok([append(&self.spools[0])?, append(&self.spools[1])?])
    }

    pub(crate) fn paths(&self) -> [&Path; 2] {
        [&self.spools[0].path, &self.spools[1].path]
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Moves whole lines to the log until none are left.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        self.drain_until(false)
    }

    /// The process has ended: moves everything, removes the spools.
    pub(crate) fn close(mut self) -> io::Result<()> {
        let drained = self.drain_until(true);
        self.progress.send_modify(|progress| progress.closed = true);
        for spool in &self.spools {
            fs::remove_file(&spool.path)?;
        }
        fs::remove_file(self.folder.join(format!("{}.offsets", self.attempt)))?;
        drained
    }

    fn drain_until(&mut self, end: bool) -> io::Result<()> {
        let mut lines = Vec::new();
        loop {
            let mut moved = false;
            for index in 0..self.spools.len() {
                lines.clear();
                let stamp = format::stamp(wall_now());
                let consumed = self.spools[index].take_lines(&stamp, end, &mut lines)?;
                if consumed > 0 {
                    moved = true;
                    self.append(&lines)?;
                    self.spools[index].consumed += consumed;
                    self.save_offsets()?;
                    self.spools[index].punch();
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.log_len > 0 && self.log_len + lines.len() as u64 > LOG_FILE_MAX {
            let path = log(&self.folder, self.attempt);
            fs::rename(&path, rotated(&self.folder, self.attempt))?;
            self.log = OpenOptions::new().append(true).create(true).open(path)?;
            self.log_len = 0;
        }
        self.log.write_all(lines)?;
        self.log_len += lines.len() as u64;
        self.progress.send_modify(|progress| progress.written += lines.len() as u64);
        Ok(())
    }

    fn save_offsets(&self) -> io::Result<()> {
        let [out, err] = &self.spools;
        let both = u128::from(out.consumed) | u128::from(err.consumed) << 64;
        self.offsets.write_all_at(&both.to_le_bytes(), 0)
    }
}

// === impl Spool ===

impl Spool {
    fn open(folder: &Path, attempt: u32, stream: Stream, consumed: u64) -> io::Result<Spool> {
        let end = match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        };
        let path = folder.join(format!("{attempt}.{end}"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        Ok(Spool { stream, path, file, consumed, punched: 0 })
    }

    /// Appends formatted lines of the next chunk to `lines` and says how many
    /// bytes of the spool they are. A line without its end waits for it, unless
    /// it is too long or nothing will follow.
    fn take_lines(&self, stamp: &str, end: bool, lines: &mut Vec<u8>) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        let unread = usize::try_from(len.saturating_sub(self.consumed)).unwrap_or(usize::MAX);
        if unread == 0 {
            return Ok(0);
        }
        let mut chunk = vec![0; unread.min(CHUNK)];
        let read = self.file.read_at(&mut chunk, self.consumed)?;
        let mut rest = &chunk[..read];
        loop {
            let line_end = rest.iter().take(TEXT_MAX + 1).position(|byte| *byte == b'\n');
            let (text, partial, taken) = match line_end {
                Some(at) => (&rest[..at], false, at + 1),
                None if rest.len() > TEXT_MAX => (&rest[..TEXT_MAX], true, TEXT_MAX),
                None if end && !rest.is_empty() && read == unread => (rest, false, rest.len()),
                None => break,
            };
            format::write(lines, stamp, self.stream, partial, text);
            rest = &rest[taken..];
        }
        Ok((read - rest.len()) as u64)
    }

    /// Gives consumed blocks back to the file system; the file keeps its length,
    /// so the writer's appends and our offsets stay right.
    fn punch(&mut self) {
        if self.consumed - self.punched < PUNCH_STEP {
            return;
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(&self.file, hole, self.punched, self.consumed - self.punched)
        {
            tracing::warn!(path = %self.path.display(), %error, "could not shrink a spool");
        }
        self.punched = self.consumed;
    }
}

/// For the stamps, which people read.
#[allow(clippy::disallowed_methods)]
fn wall_now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("create a folder");
        folder
    }

    fn texts(path: &Path) -> Vec<String> {
        let log = fs::read_to_string(path).unwrap_or_default();
        let text = |line: &str| line.split_once(' ').map_or("?", |(_, text)| text).to_owned();
        log.lines().map(text).collect()
    }

    #[test]
    fn a_capture_goes_on_where_the_one_before_it_was_lost() {
        let folder = folder("capture-resume");
        let mut first = Capture::open(&folder, 0).expect("open");
        let [mut out, mut err] = first.ends().expect("ends");
        out.write_all(b"one\ntw").expect("write");
        first.drain().expect("drain");
        drop(first);
        out.write_all(b"o\n").expect("write");
        err.write_all(b"no line feed").expect("write");
        let second = Capture::open(&folder, 0).expect("open again");
        second.close().expect("close");
        let expected = ["stdout F one", "stdout F two", "stderr F no line feed"];
        assert_eq!(texts(&log(&folder, 0)), expected);
        assert!(!folder.join("0.out").exists());
        fs::remove_dir_all(folder).expect("clean up");
    }

    #[test]
    fn a_log_is_two_files_at_most_and_its_spool_holds_no_more_than_a_step() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = folder("capture-rotate");
        let mut capture = Capture::open(&folder, 0).expect("open");
        let [mut out, _] = capture.ends().expect("ends");
        let block = [b"x".repeat(99), b"\n".to_vec()].concat().repeat(10_000);
        for _ in 0..20 {
            out.write_all(&block).expect("write");
            capture.drain().expect("drain");
        }
        let len = |path: PathBuf| fs::metadata(path).expect("stat").len();
        assert!(len(log(&folder, 0)) <= LOG_FILE_MAX);
        assert!(len(rotated(&folder, 0)) <= LOG_FILE_MAX);
        let spool = fs::metadata(folder.join("0.out")).expect("stat");
        assert_eq!(spool.len(), 20_000_000);
        assert!(spool.blocks() * 512 <= PUNCH_STEP + (1 << 20), "{} blocks", spool.blocks());
        fs::remove_dir_all(folder).expect("clean up");
    }

    #[test]
    fn a_line_without_end_is_cut_into_partial_ones() {
        let folder = folder("capture-partial");
        let capture = Capture::open(&folder, 0).expect("open");
        let [mut out, _] = capture.ends().expect("ends");
        out.write_all(&b"y".repeat(TEXT_MAX + 5)).expect("write");
        capture.close().expect("close");
        let texts = texts(&log(&folder, 0));
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("stdout P y") && texts[1] == "stdout F yyyyy");
        fs::remove_dir_all(folder).expect("clean up");
    }
}
