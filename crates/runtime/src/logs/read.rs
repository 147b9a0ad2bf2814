//! Reading a log back: the last lines, the lines since a time, and what follows.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::SystemTime,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

use super::{
    Stream,
    capture::Progress,
    format::{self, LINE_MAX},
    log, rotated,
};

/// A chunk for the reader, and how many may wait for a slow one.
const CHUNK: usize = 32 << 10;
const CHUNKS_WAITING: usize = 2;

#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    pub follow: bool,
    /// The attempt before the running one.
    pub previous: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<SystemTime>,
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
    /// Only what was printed there.
    pub stream: Option<Stream>,
}

/// The log's text. Ends with the log, with the limit, or when dropped.
#[derive(Debug)]
pub struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

// === impl Chunks ===

impl Chunks {
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.recv().await
    }

    /// `progress` is there while the attempt is running.
    pub(crate) fn open(
        folder: PathBuf,
        attempt: u32,
        options: ReadOptions,
        progress: Option<watch::Receiver<Progress>>,
    ) -> Chunks {
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
        let follow = progress.filter(|_| options.follow);
        let reader = Reader {
            path: log(&folder, attempt),
            rotated: rotated(&folder, attempt),
            file: None,
            since: options.since.map(|since| format::stamp(since).into_bytes()),
            timestamps: options.timestamps,
            stream: options.stream,
            left: options.limit_bytes.unwrap_or(u64::MAX),
        };
        tokio::spawn(async move {
            if let Err(error) = pump(reader, options.tail_lines, follow, &chunks).await {
                let _ = chunks.send(Err(error)).await;
            }
        });
        Chunks(receiver)
    }
}

async fn pump(
    mut reader: Reader,
    tail_lines: Option<u64>,
    mut follow: Option<watch::Receiver<Progress>>,
    chunks: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    reader = blocking(move || reader.start(tail_lines).map(|()| reader)).await?;
    loop {
        // Taken before reading: what is written meanwhile wakes us again.
        let seen = follow.as_mut().map(|progress| *progress.borrow_and_update());
        loop {
            let text;
            (reader, text) = blocking(move || reader.read().map(|text| (reader, text))).await?;
            let Some(text) = text else { break };
            if !text.is_empty() && chunks.send(Ok(text)).await.is_err() {
                return Ok(());
            }
        }
        let Some(progress) = follow.as_mut() else { return Ok(()) };
        if reader.left == 0 || seen.is_none_or(|seen| seen.closed) {
            return Ok(());
        }
        let changed = tokio::select! {
            changed = progress.changed() => changed.is_ok(),
            () = chunks.closed() => return Ok(()),
        };
        if !changed {
            follow = None;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

struct Reader {
    path: PathBuf,
    rotated: PathBuf,
    file: Option<BufReader<File>>,
    since: Option<Vec<u8>>,
    timestamps: bool,
    stream: Option<Stream>,
    left: u64,
}

// === impl Reader ===

impl Reader {
    /// Positions at the first line wanted: in the rotated file, or in the log.
    fn start(&mut self, tail_lines: Option<u64>) -> io::Result<()> {
        let Some(wanted) = tail_lines else {
            self.file = match open(&self.rotated)? {
                Some(file) => Some(file),
                None => open(&self.path)?,
            };
            return Ok(());
        };
        let log = open(&self.path)?;
        let Some(mut log) = log else { return Ok(()) };
        let (found, start) = tail(&mut log, wanted)?;
        if found < wanted
            && let Some(mut rotated) = open(&self.rotated)?
        {
            let (_, start) = tail(&mut rotated, wanted - found)?;
            rotated.seek(SeekFrom::Start(start))?;
            self.file = Some(rotated);
            return Ok(());
        }
        log.seek(SeekFrom::Start(start))?;
        self.file = Some(log);
        Ok(())
    }

    /// The next chunk; `None` at the end of what is there now.
    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let mut text = Vec::new();
        let mut line = Vec::new();
        while text.len() < CHUNK && self.left > 0 {
            let Some(file) = &mut self.file else {
                self.file = open(&self.path)?;
                if self.file.is_none() {
                    break;
                }
                continue;
            };
            line.clear();
            // Whole lines are appended at once, so a line is never seen half.
            let read = file.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                if self.go_on_with_the_log()? {
                    continue;
                }
                break;
            }
            self.take(line.strip_suffix(b"\n").unwrap_or(&line), &mut text);
        }
        Ok((!text.is_empty()).then(|| Bytes::from(text)))
    }

    /// At the end of a file that was rotated away, there is the next one.
    fn go_on_with_the_log(&mut self) -> io::Result<bool> {
        let Some(current) = &self.file else { return Ok(false) };
        let Some(log) = open(&self.path)? else { return Ok(false) };
        if log.get_ref().metadata()?.ino() == current.get_ref().metadata()?.ino() {
            return Ok(false);
        }
        self.file = Some(log);
        Ok(true)
    }

    fn take(&mut self, line: &[u8], text: &mut Vec<u8>) {
        let Some(parsed) = format::parse(line) else { return };
        if self.since.as_ref().is_some_and(|since| parsed.stamp < since.as_slice()) {
            return;
        }
        if self.stream.is_some_and(|stream| stream != parsed.stream) {
            return;
        }
        let from = text.len();
        if self.timestamps {
            text.extend_from_slice(parsed.stamp);
            text.push(b' ');
        }
        text.extend_from_slice(parsed.text);
        if !parsed.partial {
            text.push(b'\n');
        }
        let allowed = usize::try_from(self.left).unwrap_or(usize::MAX);
        text.truncate(from.saturating_add(allowed));
        self.left -= (text.len() - from) as u64;
    }
}

fn open(path: &PathBuf) -> io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(CHUNK, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many of the last `wanted` whole lines a file has, and where they start.
/// One pass over at most 5 MiB; partial lines belong to the line they end in.
fn tail(file: &mut BufReader<File>, wanted: u64) -> io::Result<(u64, u64)> {
    let keep = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut starts = VecDeque::new();
    let (mut at, mut line_start, mut line) = (0_u64, 0_u64, Vec::new());
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            break;
        }
        at += read;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if format::parse(text).is_some_and(|line| line.partial) {
            continue;
        }
        if keep > 0 {
            if starts.len() == keep {
                starts.pop_front();
            }
            starts.push_back(line_start);
        }
        line_start = at;
    }
    let found = starts.len() as u64;
    Ok((found, starts.front().copied().unwrap_or(line_start)))
}
