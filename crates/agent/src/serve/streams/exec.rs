//! A command beside a container's own, for as long as its client wants it.

use std::time::Duration;

use rt::Drain;
use runtime::{Execution, Exit, Sink, Source};
use tokio::sync::watch;

use super::{
    lane::{Input, Output, Piece},
    remote::{self, Client},
    status,
};

/// What is read from a command at once.
const PIECE: usize = 32 << 10;

/// For a command whose client is gone to end politely.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Why a command is over.
enum End {
    Exited(Exit),
    Gone,
    ContainerEnded,
    Draining,
}

/// Until the command has ended, whoever wanted that.
pub(crate) async fn run(
    client: Client,
    execution: Result<Execution, runtime::Error>,
    drain: Drain,
) {
    match execution {
        Ok(execution) => follow(client, execution, drain).await,
        Err(error) => {
            let why = format!("error executing command in container: {error}");
            client.end(status::failed(&why)).await;
        }
    }
}

async fn follow(mut client: Client, execution: Execution, drain: Drain) {
    let Execution { process, mut lifetime, input, stdout, stderr } = execution;
    let (over, ended) = watch::channel(false);
    let (stdin, sizes) = (client.stdin.take(), client.resize.take());
    let (to_stdout, to_stderr) = (client.stdout.clone(), client.stderr.clone());
    let mut cut = client.cut.clone();
    let end = async {
        let end = tokio::select! {
            exit = process.exited() => End::Exited(exit),
            () = cut.wait() => End::Gone,
            () = lifetime.ended() => End::ContainerEnded,
            () = drain.started() => End::Draining,
        };
        if !matches!(end, End::Exited(_)) {
            process.stop(STOP_GRACE).await;
        }
        over.send_replace(true);
        end
    };
    let outputs = async {
        let stdout = pump(stdout.as_ref(), to_stdout, ended.clone());
        tokio::join!(stdout, pump(stderr.as_ref(), to_stderr, ended.clone()))
    };
    let inputs = async {
        tokio::join!(feed(input, stdin), resize(stdout.as_ref(), sizes));
        std::future::pending::<std::convert::Infallible>().await
    };
    let (end, _) = tokio::select! {
        done = async { tokio::join!(end, outputs) } => done,
        never = inputs => match never {},
    };
    let status = match end {
        End::Exited(exit) => status::of_exit(exit),
        // As the kernel ends what runs in a container with it.
        End::ContainerEnded => status::of_exit(Exit::Signal(9)),
        End::Draining => status::failed("the agent is shutting down"),
        End::Gone => return,
    };
    client.end(status).await;
}

/// What the command prints, to its end. Once it has exited that is what is there:
/// who left its group may hold the pipe open for as long as it likes.
async fn pump(source: Option<&Source>, output: Option<Output>, mut over: watch::Receiver<bool>) {
    let (Some(source), Some(output)) = (source, output) else { return };
    loop {
        let mut piece = Piece::with_room(PIECE);
        let exited = async {
            let _ = over.wait_for(|over| *over).await;
        };
        let live = tokio::select! {
            biased;
            read = source.read(&mut piece.0) => Some(read),
            () = exited => None,
        };
        match live.unwrap_or_else(|| source.read_now(&mut piece.0)) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if output.send(piece).await.is_err() {
            break;
        }
    }
}

async fn feed(sink: Option<Sink>, input: Option<Input>) {
    let (Some(sink), Some(mut input)) = (sink, input) else { return };
    while let Some(bytes) = input.recv().await {
        if sink.write_all(&bytes).await.is_err() {
            // The command reads no more, its client may go on: into nothing.
            while input.recv().await.is_some() {}
            return;
        }
    }
    sink.end().await;
}

async fn resize(terminal: Option<&Source>, sizes: Option<Input>) {
    let (Some(terminal), Some(mut sizes)) = (terminal, sizes) else { return };
    while let Some(said) = sizes.recv().await {
        if let Some(size) = remote::size(&said) {
            size.set(terminal);
        }
    }
}
