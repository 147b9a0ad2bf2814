//! Requests out.

use super::{Connection, Leaving, StreamId, stream::Expected, stream::Stream};
use crate::frame::WINDOW_MAX;

/// Streams that are begun before the peer has said how many it takes: what the
/// RFC asks every server to take at least.
pub(super) const STREAMS_UNTOLD: u32 = 100;

/// What a request says before its fields.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a [u8],
    pub scheme: &'a [u8],
    pub authority: &'a [u8],
    pub path: &'a [u8],
}

impl Connection {
    /// Whether [`Connection::ask`] begins a stream now. If not, one may be over
    /// soon, unless the connection [is leaving](Connection::is_leaving).
    #[must_use]
    pub fn has_room(&self) -> bool {
        let most = self.streams_max.min(self.limits.streams) as usize;
        self.leaving == Leaving::No && self.streams.len() < most && self.last < WINDOW_MAX - 2
    }

    /// Whether stream ids are used up.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.last >= WINDOW_MAX - 2
    }

    /// Begins a request; its body follows by [`Connection::data`] unless this is
    /// the `end`.
    pub fn ask<'a>(
        &mut self,
        asked: &Asked<'_>,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        end: bool,
    ) -> Option<StreamId> {
        if !self.has_room() {
            return None;
        }
        let id = if self.last == 0 { 1 } else { self.last + 2 };
        self.last = id;
        let mut stream = Stream::new(self.limits.stream_window_bytes, self.stream_send_window);
        stream.answer = match asked.method {
            b"HEAD" => Expected::HeadAlone,
            _ => Expected::Head,
        };
        self.streams.open(id, stream);
        self.headers_frame(id, end, |encoder, out| {
            encoder.request(asked, out);
            for (name, value) in fields {
                encoder.field(name, value, out);
            }
        });
        if end {
            self.said(id);
        }
        Some(id)
    }
}
