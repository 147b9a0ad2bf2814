//! The control socket of `polis up`: how drills reach the processes.
//!
//! A Unix socket in the data folder, which only its owner may enter. One JSON
//! request a line, one JSON answer a line. Faults are injected here, by the
//! process that owns the processes, so that they end by process id and never by
//! name. A fault lasts at most as long as the connection that asked for it, and
//! at most as long as it was asked for: a drill that is killed or hangs heals
//! all the same.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, oneshot},
};

use super::{fault::Fault, process::Program};

/// Longest request line; center names are at most 63 bytes each.
const LINE_BYTES_MAX: u64 = 4096;

/// Requests that may wait for the supervisor.
pub const QUEUE_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Every process with its state, those of a center also one by one.
    List,
    /// Injects a fault, which heals by itself after so long at the latest.
    Inject { fault: Fault, heal_after_ms: u64 },
    /// Undoes it. What is well is left alone.
    Heal { fault: Fault },
    /// Starts a program that belongs to a center; from within `up` alone.
    #[serde(skip)]
    Start { program: Program, center: String },
    /// Ends a program that was started so, for good.
    #[serde(skip)]
    End { name: String },
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
    for fault in faults {
        call(&calls, Request::Heal { fault }).await?;
    }
    outcome
}

async fn call(calls: &mpsc::Sender<Call>, request: Request) -> anyhow::Result<Answer> {
    let (answer, answered) = oneshot::channel();
    calls.send(Call { request, answer }).await?;
    Ok(answered.await?)
}

/// Keeps what this connection has injected so far and not healed.
fn note(faults: &mut Vec<Fault>, request: &Request) {
    match request {
        Request::List | Request::Start { .. } | Request::End { .. } => {}
        Request::Inject { fault, .. } => faults.push(fault.clone()),
        Request::Heal { fault } => faults.retain(|standing| standing != fault),
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

    /// Injects `fault`; the supervisor heals it after `limit` if nobody did.
    pub async fn inject(&mut self, fault: &Fault, limit: Duration) -> anyhow::Result<()> {
        let heal_after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.ask(&Request::Inject { fault: fault.clone(), heal_after_ms }).await.map(drop)
    }

    pub async fn heal(&mut self, fault: &Fault) -> anyhow::Result<()> {
        self.ask(&Request::Heal { fault: fault.clone() }).await.map(drop)
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
        let kill = Fault::Kill { names: vec!["a".to_owned()] };
        let pause = Fault::Pause { names: vec!["b".to_owned()] };
        let client = tokio::spawn({
            let (socket, kill, pause) = (socket.clone(), kill.clone(), pause.clone());
            async move {
                let mut session = Session::open(&socket).await.expect("open");
                session.inject(&kill, Duration::from_secs(1)).await.expect("kill");
                session.inject(&pause, Duration::from_secs(1)).await.expect("pause");
                session.heal(&kill).await.expect("heal");
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let call = calls.recv().await.expect("a call");
            seen.push(call.request);
            call.answer.send(Answer::Ok(Vec::new())).expect("the connection waits");
        }
        client.await.expect("the client ends");
        assert_eq!(seen[3], Request::Heal { fault: pause });
        std::fs::remove_file(&socket).expect("clean up");
    }
}
