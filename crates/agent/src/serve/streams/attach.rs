//! What a container prints from now on, until it ends.

use rt::Drain;
use runtime::{
    ContainerId, Runtime,
    logs::{Chunks, ReadOptions, Stream},
};

use super::{lane::Output, remote::Client, status};

pub(crate) async fn run(client: Client, runtime: &Runtime, id: &ContainerId, drain: Drain) {
    let follow = |stream| {
        let stream = Some(stream);
        let options =
            ReadOptions { follow: true, tail_lines: Some(0), stream, ..Default::default() };
        runtime.logs(id, options).ok()
    };
    let stdout = show(follow(Stream::Out), client.stdout.clone());
    let stderr = show(follow(Stream::Err), client.stderr.clone());
    let mut cut = client.cut.clone();
    let status = tokio::select! {
        _ = async { tokio::join!(stdout, stderr) } => status::success(),
        () = drain.started() => status::failed("the agent is shutting down"),
        () = cut.wait() => return,
    };
    client.end(status).await;
}

async fn show(chunks: Option<Chunks>, output: Option<Output>) {
    let (Some(mut chunks), Some(output)) = (chunks, output) else { return };
    while let Some(Ok(chunk)) = chunks.next().await {
        if output.say(&chunk).await.is_err() {
            return;
        }
    }
}
