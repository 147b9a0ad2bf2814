//! The client of a command: its five lanes, by whichever protocol.

use std::time::Duration;

use runtime::Size;
use serde::Deserialize;

use super::{
    channels::Channels,
    lane::{Cut, Input, Output, Pump},
    options::Remote,
    session::Session,
    upgrade::{Upgrade, Wire},
    wire,
};

/// Channels of `v4.channel.k8s.io` and `v5.channel.k8s.io`.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CHANNELS: u8 = 5;

/// For a client of SPDY to open all its streams: a kubelet's.
const OPENING_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    pub stdin: Option<Input>,
    pub resize: Option<Input>,
    pub stdout: Option<Output>,
    pub stderr: Option<Output>,
    pub cut: Cut,
    /// Takes one status, at the end.
    error: Output,
    pump: Pump,
}

// === impl Client ===

impl Client {
    /// Says how it ended, and closes the connection in order.
    pub(crate) async fn end(self, status: String) {
        let Client { stdin, resize, stdout, stderr, cut, error, pump } = self;
        drop((stdin, resize, cut));
        for output in [&stdout, &stderr].into_iter().flatten() {
            output.finish().await;
        }
        let _ = error.say(status.as_bytes()).await;
        error.finish().await;
        drop((stdout, stderr, error));
        pump.finish().await;
    }
}

/// `None` if the client went away, or never opened its streams.
pub(crate) async fn open(upgrade: Upgrade, options: &Remote) -> Option<Client> {
    let kind = upgrade.wire;
    let (reader, writer) = wire::open(upgrade).await?;
    if kind == Wire::Channels {
        return Some(of_channels(Channels::open(reader, writer, CHANNELS), options).await);
    }
    let session = Session::open(reader, writer);
    tokio::time::timeout(OPENING_MAX, of_streams(session, options)).await.ok()?
}

async fn of_channels(mut channels: Channels, options: &Remote) -> Client {
    let stdin = channels.input(STDIN).filter(|_| options.stdin);
    let resize = channels.input(RESIZE).filter(|_| options.tty);
    let stdout = options.stdout.then(|| channels.output(STDOUT));
    let stderr = options.stderr.then(|| channels.output(STDERR));
    let error = channels.output(ERROR);
    // An empty message says that there is somebody: Kubernetes' clients wait for
    // the first one before they write.
    let first = stdout.as_ref().or(stderr.as_ref()).unwrap_or(&error);
    let _ = first.say(&[]).await;
    let (cut, pump) = channels.into_parts();
    Client { stdin, resize, stdout, stderr, cut, error, pump }
}

/// Each stream says in its headers what it is for.
async fn of_streams(mut session: Session, options: &Remote) -> Option<Client> {
    let (mut stdin, mut resize, mut stdout, mut stderr, mut error) = (None, None, None, None, None);
    let complete = |has: [bool; 5]| {
        let wanted = [options.stdin, options.tty, options.stdout, options.stderr, true];
        has.iter().zip(wanted).all(|(has, wanted)| *has || !wanted)
    };
    while !complete([
        stdin.is_some(),
        resize.is_some(),
        stdout.is_some(),
        stderr.is_some(),
        error.is_some(),
    ]) {
        let stream = session.accept().await?;
        match stream.headers.get("streamtype") {
            Some("stdin") => stdin = Some(stream.input),
            Some("resize") => resize = Some(stream.input),
            Some("stdout") => stdout = Some(stream.output),
            Some("stderr") => stderr = Some(stream.output),
            Some("error") => error = Some(stream.output),
            _ => stream.output.finish().await,
        }
    }
    let (cut, pump) = session.into_parts();
    Some(Client { stdin, resize, stdout, stderr, cut, error: error?, pump })
}

/// The newest size in what was said about it.
pub(crate) fn size(said: &[u8]) -> Option<Size> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Said {
        width: u16,
        height: u16,
    }
    let sizes = serde_json::Deserializer::from_slice(said).into_iter::<Said>();
    let said = sizes.map_while(Result::ok).last()?;
    Some(Size { columns: said.width, rows: said.height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_size_counts() {
        let said = b"{\"Width\":80,\"Height\":24}\n{\"Width\":100,\"Height\":30}\n";
        assert_eq!(size(said), Some(Size { columns: 100, rows: 30 }));
        assert_eq!(size(b"{\"Width\":70000,\"Height\":24}"), None);
        assert_eq!(size(b"wide"), None);
    }
}
