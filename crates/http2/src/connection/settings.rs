//! Settings: ours, said once, and the peer's.

use super::{Connection, Side};
use crate::{
    Code, Fatal,
    frame::{
        self, ACK, Header, SETTING_FRAME_BYTES, SETTING_LIST_BYTES, SETTING_PUSH, SETTING_STREAMS,
        SETTING_TABLE_BYTES, SETTING_WINDOW, SETTINGS, WINDOW_DEFAULT, WINDOW_MAX, WINDOW_UPDATE,
    },
};

const SETTING_BYTES: usize = 6;
const FRAME_BYTES_LEAST: u32 = 16_384;
const FRAME_BYTES_MOST: u32 = (1 << 24) - 1;

impl Connection {
    pub(super) fn introduce(&mut self) {
        let limits = self.limits;
        let mut payload = Vec::new();
        let first = match self.side {
            Side::Server => (SETTING_STREAMS, limits.streams),
            Side::Client => {
                self.output.extend_from_slice(frame::PREFACE);
                (SETTING_PUSH, 0)
            }
        };
        for (name, value) in [
            first,
            (SETTING_WINDOW, limits.stream_window_bytes),
            (SETTING_LIST_BYTES, limits.head_bytes),
        ] {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.frame(SETTINGS, 0, 0, &payload);
        let more = limits.connection_window_bytes.saturating_sub(WINDOW_DEFAULT);
        if more > 0 {
            self.frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
        // What stands in the default already cannot be taken back.
        self.receive_window = self.receive_window.max(i64::from(WINDOW_DEFAULT));
    }

    pub(super) fn settings(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Code::PROTOCOL_ERROR.fatal("SETTINGS on a stream"));
        }
        if header.has(ACK) {
            return match payload.is_empty() {
                true => self.chatter(),
                false => Err(Code::FRAME_SIZE_ERROR.fatal("an acknowledgement with settings")),
            };
        }
        if !payload.len().is_multiple_of(SETTING_BYTES) {
            return Err(Code::FRAME_SIZE_ERROR.fatal("SETTINGS cut short"));
        }
        if !self.has_settings {
            // A peer that does not bound them has no bound.
            self.streams_max = u32::MAX;
        }
        // However often one frame says it, streams are gone through once.
        let mut window = self.stream_send_window;
        for setting in payload.chunks_exact(SETTING_BYTES) {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = frame::number(&setting[2..]).expect("a chunk of six");
            match name {
                SETTING_TABLE_BYTES => self.encoder.resize(value),
                SETTING_STREAMS => self.streams_max = value,
                SETTING_PUSH if self.side == Side::Client && value == 1 => {
                    return Err(Code::PROTOCOL_ERROR.fatal("only clients say ENABLE_PUSH"));
                }
                SETTING_PUSH if value > 1 => {
                    return Err(Code::PROTOCOL_ERROR.fatal("ENABLE_PUSH is neither 0 nor 1"));
                }
                SETTING_WINDOW if value > WINDOW_MAX => {
                    return Err(Code::FLOW_CONTROL_ERROR.fatal("INITIAL_WINDOW_SIZE too large"));
                }
                SETTING_WINDOW => window = value,
                SETTING_FRAME_BYTES if !(FRAME_BYTES_LEAST..=FRAME_BYTES_MOST).contains(&value) => {
                    return Err(Code::PROTOCOL_ERROR.fatal("MAX_FRAME_SIZE out of bounds"));
                }
                _ => {}
            }
        }
        self.chatter()?;
        self.has_settings = true;
        self.frame(SETTINGS, ACK, 0, &[]);
        self.move_windows(window)
    }

    fn move_windows(&mut self, window: u32) -> Result<(), Fatal> {
        let change =
            i64::from(window) - i64::from(std::mem::replace(&mut self.stream_send_window, window));
        if change == 0 {
            return Ok(());
        }
        for (id, stream) in self.streams.iter_mut() {
            stream.send_window += change;
            if stream.send_window > i64::from(WINDOW_MAX) {
                return Err(Code::FLOW_CONTROL_ERROR.fatal("a window beyond 2^31-1"));
            }
            if stream.can_send() && !std::mem::replace(&mut stream.is_ready, true) {
                self.ready.push_back(id);
            }
        }
        self.pump();
        Ok(())
    }
}
