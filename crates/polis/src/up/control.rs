//! The control socket of `polis up`: how drills reach the processes.
//!
//! A Unix socket in the data folder, mode 0600. One JSON request a line, one
//! JSON answer a line. Faults are injected here, by the process that owns the
//! processes, so that they end by process id and never by name.

use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

/// Longest request line; center names are at most 63 bytes each.
const LINE_BYTES_MAX: u64 = 4096;

/// Requests that may wait for the supervisor.
pub const QUEUE_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Every process with its state.
    List,
    /// SIGKILL to all processes of these centers, at once; they stay down.
    Kill { centers: Vec<String> },
    /// SIGSTOP to all processes of these centers.
    Pause { centers: Vec<String> },
    /// SIGCONT.
    Resume { centers: Vec<String> },
    /// Starts the centers that are down.
    Start { centers: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    pub name: String,
    pub pid: Option<u32>,
    pub state: ProcessState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    Running,
    Paused,
    /// Killed on purpose: stays down until it is started again.
    Down,
    /// Ended by itself: about to be started again.
    Restarting,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Ok(Vec<ProcessInfo>),
    Error(String),
}

/// A request on its way to the supervisor.
pub struct Call {
    pub request: Request,
    pub answer: oneshot::Sender<Answer>,
}

/// Serves the socket until the supervisor is gone.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    while !calls.is_closed() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = calls.closed() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let calls = calls.clone();
        rt::spawn(rt::TaskKind::Connection, "control", async move {
            // A client that goes away mid-sentence needs no answer.
            let _ = converse(stream, calls).await;
        });
    }
}

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(read, LINE_BYTES_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => {
                let (answer, answered) = oneshot::channel();
                calls.send(Call { request, answer }).await?;
                answered.await?
            }
            Err(error) => Answer::Error(format!("not a request: {error}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
    Ok(())
}

/// One request to the `up` that runs from this socket's folder.
pub async fn ask(socket: &Path, request: &Request) -> anyhow::Result<Vec<ProcessInfo>> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        let code = errors::NOT_RUNNING;
        format!("{code}: no `polis up` answers at {}. {}", socket.display(), code.remedy())
    })?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(read).read_line(&mut answer).await?;
    match serde_json::from_str(&answer).context("read the answer of `polis up`")? {
        Answer::Ok(processes) => Ok(processes),
        Answer::Error(text) => bail!("{text}"),
    }
}
