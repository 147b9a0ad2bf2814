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

#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: mpsc::SyncSender<String>,
    dropped: Arc<AtomicU64>,
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
        let (lines, written) = mpsc::sync_channel::<String>(LINES_MAX);
        thread::Builder::new().name("access-log".into()).spawn(move || {
            let mut file = BufWriter::new(file);
            while let Ok(line) = written.recv() {
                let mut wrote = file.write_all(line.as_bytes());
                while let Ok(line) = written.try_recv() {
                    wrote = wrote.and_then(|()| file.write_all(line.as_bytes()));
                }
                if let Err(error) = wrote.and_then(|()| file.flush()) {
                    tracing::error!(%error, "cannot write the access log");
                }
            }
        })?;
        Ok(AccessLog { lines, dropped: Arc::default() })
    }

    pub(crate) fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
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
