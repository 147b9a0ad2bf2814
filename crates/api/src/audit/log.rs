//! Where events go: a thread of its own that appends them to a file, many at a
//! time when many wait. What waits is bounded; whoever finds no room waits, or
//! goes on without its event, as the operator has chosen.
//!
//! Events that cannot be written are counted and told, never passed over.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rt::{Clock, Millis};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::file::Out;
use crate::settings::{AuditLog, AuditMode};

/// What may wait: minutes of a busy server's events without bodies, and more
/// than ten of the largest answers.
const WAITING_KIB: u32 = 64 * 1024;

/// Written at once: what a disk takes well.
const BATCH_BYTES: usize = 1024 * 1024;

/// While events cannot be written that is said so often.
const TELL_EVERY_MS: u64 = 10_000;

pub struct Log {
    entries: mpsc::UnboundedSender<Entry>,
    room: Arc<Semaphore>,
    mode: AuditMode,
    counts: Arc<Counts>,
}

/// Of events.
#[derive(Default)]
pub struct Counts {
    pub written: AtomicU64,
    /// Not written, because of the file or because too many waited.
    pub lost: AtomicU64,
}

enum Entry {
    Line {
        line: Vec<u8>,
        room: OwnedSemaphorePermit,
        done: Option<oneshot::Sender<bool>>,
    },
    /// Tells when everything before it is done with.
    Mark(oneshot::Sender<()>),
}

/// The thread's side.
struct Writer {
    out: Out,
    counts: Arc<Counts>,
    clock: Clock,
    /// Why the last write failed, if it did.
    failing: Option<io::Error>,
    /// When losses were last told, and how many there were by then.
    told: (Option<Millis>, u64),
}

/// Lines that are written together, and who waits for them.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    count: u64,
    waiting: Vec<oneshot::Sender<bool>>,
    /// Given back when it is dropped.
    rooms: Vec<OwnedSemaphorePermit>,
}

// === impl Log ===

impl Log {
    pub fn open(settings: AuditLog) -> io::Result<Log> {
        let mode = settings.mode;
        let out = Out::open(settings)?;
        let (entries, queue) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            out,
            counts: counts.clone(),
            clock: Clock::real(),
            failing: None,
            told: (None, 0),
        };
        std::thread::Builder::new().name("audit log".into()).spawn(move || writer.run(queue))?;
        Ok(Log { entries, room: Arc::new(Semaphore::new(WAITING_KIB as usize)), mode, counts })
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// False only where the operator wants nothing done whose event is not kept.
    pub async fn write(&self, line: Vec<u8>) -> bool {
        if self.mode == AuditMode::Batch {
            match self.room.clone().try_acquire_many_owned(kib(&line)) {
                Ok(room) => self.send(line, room, None),
                Err(_) => self.lose(),
            }
            return true;
        }
        let room = self.room.clone().acquire_many_owned(kib(&line)).await;
        let room = room.expect("the room is never closed");
        let (done, written) = oneshot::channel();
        self.send(line, room, Some(done));
        written.await.unwrap_or(false) || self.mode == AuditMode::Blocking
    }

    /// Without waiting: from where nobody can.
    pub fn post(self: &Arc<Log>, line: Vec<u8>) {
        match self.room.clone().try_acquire_many_owned(kib(&line)) {
            Ok(room) => self.send(line, room, None),
            Err(_) if self.mode == AuditMode::Batch => self.lose(),
            Err(_) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let log = self.clone();
                    runtime.spawn(async move { log.write(line).await });
                }
                Err(_) => self.lose(),
            },
        }
    }

    /// Until everything that was given before is written, or lost.
    pub async fn flush(&self) {
        let (mark, reached) = oneshot::channel();
        if self.entries.send(Entry::Mark(mark)).is_ok() {
            let _ = reached.await;
        }
    }

    fn send(&self, line: Vec<u8>, room: OwnedSemaphorePermit, done: Option<oneshot::Sender<bool>>) {
        if self.entries.send(Entry::Line { line, room, done }).is_err() {
            self.lose();
        }
    }

    /// The thread tells of it with what it loses itself.
    fn lose(&self) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
        let (mark, _) = oneshot::channel();
        let _ = self.entries.send(Entry::Mark(mark));
    }
}

/// Never more than there is.
fn kib(line: &[u8]) -> u32 {
    u32::try_from(line.len().div_ceil(1024)).unwrap_or(WAITING_KIB).clamp(1, WAITING_KIB)
}

// === impl Writer ===

impl Writer {
    /// Until nobody is left who could give it anything.
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Entry>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Batch::default();
            let mut marks = Vec::new();
            let mut next = Some(first);
            while let Some(entry) = next {
                match entry {
                    Entry::Line { line, room, done } => {
                        self.make_room(&mut batch, line.len());
                        batch.push(&line, room, done);
                    }
                    Entry::Mark(mark) => marks.push(mark),
                }
                next = match batch.lines.len() < BATCH_BYTES {
                    true => queue.try_recv().ok(),
                    false => None,
                };
            }
            self.write(batch);
            self.tell();
            // Nobody may wait for it any more.
            for mark in marks {
                let _ = mark.send(());
            }
        }
    }

    /// Begins another file when the next line does not fit into this one.
    fn make_room(&mut self, batch: &mut Batch, bytes: usize) {
        if self.out.has_room(batch.lines.len(), bytes) {
            return;
        }
        self.write(std::mem::take(batch));
        if !self.out.has_room(0, bytes)
            && let Err(error) = self.out.rotate()
        {
            tracing::error!(%error, "the audit log was not rotated: its file grows");
        }
    }

    fn write(&mut self, batch: Batch) {
        if batch.lines.is_empty() {
            return;
        }
        let written = self.out.write(&batch.lines);
        let is_written = written.is_ok();
        let count = if is_written { &self.counts.written } else { &self.counts.lost };
        count.fetch_add(batch.count, Ordering::Relaxed);
        match (written, &self.failing) {
            (Ok(()), Some(_)) => {
                tracing::info!("the audit log is written again");
                self.failing = None;
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.failing = Some(error),
        }
        // Nobody may wait for it any more.
        for done in batch.waiting {
            let _ = done.send(is_written);
        }
    }

    /// A loss is said at once, and while it goes on now and then.
    fn tell(&mut self) {
        let lost = self.counts.lost.load(Ordering::Relaxed);
        let (at, before) = self.told;
        let now = self.clock.now();
        if lost == before || at.is_some_and(|at| now.since(at) < TELL_EVERY_MS) {
            return;
        }
        let events = lost - before;
        let why = self.failing.as_ref().map_or("too many wait".into(), ToString::to_string);
        tracing::error!(
            %why,
            events,
            "events of the audit log are lost: make room on its disk, or move old files away"
        );
        self.told = (Some(now), lost);
    }
}

// === impl Batch ===

impl Batch {
    fn push(
        &mut self,
        line: &[u8],
        room: OwnedSemaphorePermit,
        done: Option<oneshot::Sender<bool>>,
    ) {
        self.lines.extend_from_slice(line);
        self.count += 1;
        self.waiting.extend(done);
        self.rooms.push(room);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let id = std::process::id();
            let path = std::env::temp_dir().join(format!("polis-audit-{name}-{id}"));
            let _ = std::fs::remove_dir_all(&path);
            Folder(path)
        }

        /// The texts of all files, by name.
        fn texts(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).expect("it was made");
            let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
            paths.sort();
            paths.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn settings(path: &Path, mode: AuditMode) -> AuditLog {
        AuditLog { mode, ..AuditLog::new(path) }
    }

    #[tokio::test]
    async fn lines_are_whole_and_files_end_where_they_must() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("rotation");
        let path = folder.0.join("audit.log");
        let settings =
            AuditLog { file_bytes_max: 40, backups_max: 2, ..settings(&path, AuditMode::Blocking) };
        let log = Log::open(settings).expect("it opens");
        for number in 0..10 {
            assert!(log.write(format!("line {number} of ten\n").into_bytes()).await);
        }
        assert!(log.write(vec![b'x'; 100]).await, "what fits nowhere is kept all the same");
        let texts = folder.texts();
        assert_eq!(texts[1], "line 8 of ten\nline 9 of ten\n", "{texts:?}");
        assert_eq!((texts.len(), texts[2].len()), (2 + 1, 100), "{texts:?}");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(log.counts().written.load(Ordering::Relaxed), 11);
    }

    #[tokio::test]
    async fn a_full_disk_is_counted_and_refuses_only_who_is_strict() {
        for (mode, expected) in [
            (AuditMode::BlockingStrict, false),
            (AuditMode::Blocking, true),
            (AuditMode::Batch, true),
        ] {
            let log = Log::open(settings(Path::new("/dev/full"), mode)).expect("it opens");
            assert_eq!(log.write(b"line\n".to_vec()).await, expected, "{mode:?}");
            log.flush().await;
            assert_eq!(log.counts().lost.load(Ordering::Relaxed), 1, "{mode:?}");
        }
    }

    #[tokio::test]
    async fn what_was_given_is_written_before_the_end() {
        let folder = Folder::new("flush");
        let path = folder.0.join("audit.log");
        let log = Arc::new(Log::open(settings(&path, AuditMode::Batch)).expect("it opens"));
        for _ in 0..100 {
            log.write(b"written\n".to_vec()).await;
            log.post(b"posted\n".to_vec());
        }
        log.flush().await;
        assert_eq!(folder.texts().concat().lines().count(), 200);
    }

    #[test]
    fn a_line_takes_no_more_room_than_there_is() {
        assert_eq!(kib(b""), 1);
        assert_eq!(kib(&vec![0; 1025]), 2);
        assert_eq!(kib(&vec![0; 80 * 1024 * 1024]), WAITING_KIB);
    }
}
