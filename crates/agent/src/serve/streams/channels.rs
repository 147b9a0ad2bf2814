//! Lanes in a WebSocket: each message begins with its channel's number
//! (`channel.k8s.io`).

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use rt::TaskKind;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval_at},
};

use super::{
    lane::{Cut, Input, Output, Pump, QUEUE},
    wire::{Reader, Writer},
};

/// Version 5: the channel named next has ended.
const CLOSE: u8 = 255;

/// Between signs of life that ask for one.
const PING_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Channels {
    inputs: Vec<Option<Input>>,
    messages: mpsc::Sender<Bytes>,
    pub cut: Cut,
    pub pump: Pump,
}

// === impl Channels ===

impl Channels {
    /// Channels from 0 on up to `count`; what is said on others is dropped, as
    /// is what nobody takes the input of.
    pub(crate) fn open(reader: Reader, writer: Writer, count: u8) -> Channels {
        let (senders, inputs) = (0..count)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                (Some(sender), Some(receiver))
            })
            .unzip();
        let (alive, cut) = watch::channel(());
        let (messages, queue) = mpsc::channel(QUEUE);
        let reader = rt::spawn(TaskKind::Connection, "channels read", async move {
            read(reader, senders).await;
            drop(alive);
        });
        let deaf = reader.abort_handle();
        let writer = rt::spawn(TaskKind::Connection, "channels write", async move {
            if write(writer, queue).await.is_err() {
                deaf.abort();
            }
        });
        Channels { inputs, messages, cut: Cut(cut), pump: Pump { reader, writer } }
    }

    /// Can be taken once.
    pub(crate) fn input(&mut self, number: u8) -> Option<Input> {
        self.inputs.get_mut(usize::from(number))?.take()
    }

    pub(crate) fn output(&self, number: u8) -> Output {
        Output::Channel(number, self.messages.clone())
    }

    /// Inputs that were not taken are read and dropped from here on.
    pub(crate) fn into_parts(self) -> (Cut, Pump) {
        (self.cut, self.pump)
    }
}

/// Until the client has no more to say.
async fn read(mut reader: Reader, mut inputs: Vec<Option<mpsc::Sender<Bytes>>>) {
    while let Some(mut message) = reader.next().await {
        let Ok(number) = message.try_get_u8() else { continue };
        if number == CLOSE {
            let ended = message.try_get_u8().ok();
            if let Some(input) = ended.and_then(|number| inputs.get_mut(usize::from(number))) {
                *input = None;
            }
            continue;
        }
        let Some(slot) = inputs.get_mut(usize::from(number)) else { continue };
        let Some(input) = slot.as_ref().filter(|_| !message.is_empty()) else { continue };
        if input.send(message).await.is_err() {
            *slot = None;
        }
    }
}

/// Until all outputs are dropped; an error if the client is gone before.
async fn write(
    mut writer: Writer,
    mut messages: mpsc::Receiver<Bytes>,
) -> Result<(), super::wire::Gone> {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => writer.write(message).await?,
                None => break,
            },
            _ = pings.tick() => writer.ping().await?,
        }
    }
    writer.close().await;
    Ok(())
}
