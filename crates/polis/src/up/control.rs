//! The control socket of `polis up`: how drills reach the processes.
//!
//! A Unix socket in the data folder, which only its owner may enter. One JSON
//! request a line, one JSON answer a line. Faults are injected here, by the
//! process that owns the processes, so that they end by process id and never by
//! name. A fault lasts at most as long as the connection that asked for it: a
//! drill that is killed heals all the same.

use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
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
    let mut reader = BufReader::new(read);
    let mut faults = Vec::new();
    let conversation = async {
        while let Some(line) = next_line(&mut reader).await? {
            let answer = match serde_json::from_str(&line) {
                Ok(request) => {
                    note(&mut faults, &request);
                    call(&calls, request).await?
                }
                Err(error) => Answer::Error(format!("not a request: {error}")),
            };
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            write.write_all(&line).await?;
        }
        anyhow::Ok(())
    };
    let outcome = conversation.await;
    for healing in faults {
        call(&calls, healing).await?;
    }
    outcome
}

async fn call(calls: &mpsc::Sender<Call>, request: Request) -> anyhow::Result<Answer> {
    let (answer, answered) = oneshot::channel();
    calls.send(Call { request, answer }).await?;
    Ok(answered.await?)
}

/// Keeps what would undo the faults of this connection so far.
fn note(faults: &mut Vec<Request>, request: &Request) {
    match request.clone() {
        Request::List => {}
        Request::Kill { centers } => faults.push(Request::Start { centers }),
        Request::Pause { centers } => faults.push(Request::Resume { centers }),
        healing @ (Request::Resume { .. } | Request::Start { .. }) => {
            faults.retain(|fault| *fault != healing);
        }
    }
}

async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = reader.take(LINE_BYTES_MAX).read_line(&mut line).await?;
    if read > 0 && !line.ends_with('\n') {
        bail!("a request is at most {LINE_BYTES_MAX} bytes");
    }
    Ok((read > 0).then_some(line))
}

/// A conversation with the `up` that runs from a folder. Dropping it heals what
/// it injected.
pub struct Session(BufReader<UnixStream>);

// === impl Session ===

impl Session {
    pub async fn open(socket: &Path) -> anyhow::Result<Session> {
        let stream = UnixStream::connect(socket).await.with_context(|| {
            let code = errors::NOT_RUNNING;
            format!("{code}: no `polis up` answers at {}. {}", socket.display(), code.remedy())
        })?;
        Ok(Session(BufReader::new(stream)))
    }

    pub async fn ask(&mut self, request: &Request) -> anyhow::Result<Vec<ProcessInfo>> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.write_all(&line).await?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).await?;
        match serde_json::from_str(&answer).context("read the answer of `polis up`")? {
            Answer::Ok(processes) => Ok(processes),
            Answer::Error(text) => bail!("{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_ends_with_the_connection_that_asked_for_it() {
        let socket = std::env::temp_dir().join(format!("polis-control-{}", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let (calls_tx, mut calls) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(serve(UnixListener::bind(&socket).expect("bind"), calls_tx));
        let centers = |name: &str| vec![name.to_owned()];
        let client = tokio::spawn({
            let socket = socket.clone();
            async move {
                let mut session = Session::open(&socket).await.expect("open");
                session.ask(&Request::Kill { centers: centers("a") }).await.expect("kill");
                session.ask(&Request::Pause { centers: centers("b") }).await.expect("pause");
                session.ask(&Request::Start { centers: centers("a") }).await.expect("start");
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let call = calls.recv().await.expect("a call");
            seen.push(call.request);
            call.answer.send(Answer::Ok(Vec::new())).expect("the connection waits");
        }
        client.await.expect("the client ends");
        assert_eq!(seen[3], Request::Resume { centers: centers("b") });
        std::fs::remove_file(&socket).expect("clean up");
    }
}
