//! One JSON object a request, written by a thread of its own. What the disk is
//! too slow for is dropped and counted, never waited for.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::request;
use serde_json::json;

use crate::{call::view::View, exchange::Client};

/// Lines on their way to the disk.
const LINES_MAX: usize = 16_384;
/// Longest path that is written as a whole.
const PATH_CHARS_MAX: usize = 512;

/// A disk that takes longer for what is left at the end has had its time.
const FLUSH_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct AccessLog {
    entries: mpsc::SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

enum Entry {
    Line(String),
    /// All before it is written.
    Written(mpsc::Sender<()>),
}

/// What is known when a request comes in.
pub(crate) struct Line {
    method: String,
    path: String,
    host: String,
    request_id: String,
    trace: String,
    client: SocketAddr,
}

// === impl AccessLog ===

impl AccessLog {
    pub(crate) fn open(path: &Path) -> io::Result<AccessLog> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (entries, come) = mpsc::sync_channel(LINES_MAX);
        thread::Builder::new().name("access-log".into()).spawn(move || {
            let mut file = BufWriter::new(file);
            while let Ok(first) = come.recv() {
                let mut wrote = Ok(());
                let mut waiting = Vec::new();
                for entry in std::iter::once(first).chain(come.try_iter()) {
                    match entry {
                        Entry::Line(line) => {
                            wrote = wrote.and_then(|()| file.write_all(line.as_bytes()));
                        }
                        Entry::Written(told) => waiting.push(told),
                    }
                }
                if let Err(error) = wrote.and_then(|()| file.flush()) {
                    tracing::error!(%error, "cannot write the access log");
                }
                for told in waiting {
                    let _ = told.send(());
                }
            }
        })?;
        Ok(AccessLog { entries, dropped: Arc::default() })
    }

    pub(crate) fn write(&self, line: String) {
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all that was given is in the file: the process is about to end.
    pub(crate) fn flush(&self) {
        let (told, written) = mpsc::channel();
        if self.entries.try_send(Entry::Written(told)).is_ok() {
            let _ = written.recv_timeout(FLUSH_MAX);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

// === impl Line ===

impl Line {
    pub(crate) fn of(head: &request::Parts, client: &Client, trace: &[u8]) -> Line {
        let text = |name: &str| {
            head.headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default()
        };
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        Line {
            method: head.method.to_string(),
            path: path.chars().take(PATH_CHARS_MAX).collect(),
            host: text("host"),
            request_id: text("x-request-id"),
            trace: String::from_utf8_lossy(trace).into_owned(),
            client: client.address,
        }
    }

    /// The service stands for the host.
    pub(crate) fn of_call(view: &mut View<'_>, client: &Client) -> Line {
        let text = |text: Option<std::borrow::Cow<'_, str>>| -> String {
            text.unwrap_or_default().chars().take(PATH_CHARS_MAX).collect()
        };
        Line {
            method: text(view.method()),
            path: String::new(),
            host: text(view.service()),
            request_id: String::new(),
            trace: text(view.trace()),
            client: client.address,
        }
    }

    pub(crate) fn finish(
        self,
        route: Option<&str>,
        endpoint: Option<SocketAddr>,
        status: u16,
        tries: u32,
        took: Duration,
    ) -> String {
        #[allow(clippy::disallowed_methods)] // For people to read.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = json!({
            "time_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "client": self.client.to_string(),
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "route": route,
            "endpoint": endpoint.map(|endpoint| endpoint.to_string()),
            "status": status,
            "tries": tries,
            "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request_id": self.request_id,
            "trace_id": self.trace,
        })
        .to_string();
        line.push('\n');
        line
    }
}
