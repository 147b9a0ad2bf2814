//! gRPC over [`crate::wire`]: one call at a time for what a run prepares, and
//! messages out of a stream's bytes.

use anyhow::{Context, bail};
use bytes::{Buf as _, Bytes};
use prost::Message;

use crate::{
    target::Target,
    wire::{Connection, Event},
};

/// Flags and length before each message.
const PREFIX_BYTES: usize = 5;

/// Asks one question on a connection of its own.
pub(crate) async fn ask<A: Message + Default>(
    target: &Target,
    path: &str,
    request: &impl Message,
) -> anyhow::Result<A> {
    let mut connection = Connection::open(target).await.context("connect")?;
    let asked = connection.call(path, &request.encode_to_vec(), true);
    let (mut messages, mut events) = (Messages::default(), Vec::new());
    loop {
        connection.turn(&mut events).await.with_context(|| format!("call {path}"))?;
        for event in events.drain(..) {
            match event {
                Event::Data(stream, data) if stream == asked => messages.push(data),
                Event::End(stream) if stream == asked => {
                    let Some(message) = messages.next() else { bail!("{path} was refused") };
                    return A::decode(message).with_context(|| format!("read answer of {path}"));
                }
                Event::Data(..) | Event::End(_) => {}
            }
        }
    }
}

/// Puts messages together again that frames have cut.
#[derive(Default)]
pub(crate) struct Messages(Bytes);

// === impl Messages ===

impl Messages {
    /// The next piece of the stream; [`Self::next`] is to be asked until it has
    /// nothing more.
    pub fn push(&mut self, data: Bytes) {
        match self.0.is_empty() {
            // Most frames hold whole messages, which then need not be copied.
            true => self.0 = data,
            false => self.0 = [&self.0[..], &data[..]].concat().into(),
        }
    }

    pub fn next(&mut self) -> Option<Bytes> {
        let prefix: [u8; PREFIX_BYTES] = *self.0.first_chunk()?;
        let [_, a, b, c, d] = prefix;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if self.0.len() < PREFIX_BYTES + length {
            return None;
        }
        self.0.advance(PREFIX_BYTES);
        Some(self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_were_cut() {
        let stream = b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x03you";
        for cut in 0..stream.len() {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                messages.push(Bytes::copy_from_slice(part));
                found.extend(std::iter::from_fn(|| messages.next()));
            }
            assert_eq!(found, [&b"hi"[..], b"", b"you"], "cut at {cut}");
        }
    }
}
