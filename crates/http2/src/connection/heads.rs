//! Blocks of fields: put together, read, and recognized.

use std::sync::Arc;

use crate::{
    Code, Fatal, Field, Head, Response,
    head::{Gathering, Unfit},
    hpack::Decoder,
};

use super::StreamId;

/// A largest head, and as much again in frames that are not full: no honest
/// peer cuts a head smaller than it must (CVE-2024-27316).
const CONTINUATIONS_MAX: u32 = 8;

/// Heads remembered by the bytes that stood for them: the calls that one
/// client makes again and again.
const REMEMBERED_MAX: usize = 8;
/// A byte or two for each of a dozen fields.
const REMEMBERED_BYTES_MAX: usize = 32;

pub(super) struct Heads {
    decoder: Decoder,
    bytes_max: usize,
    partial: Option<Partial>,
    remembered: Vec<Remembered>,
    /// Which of them goes next.
    hand: usize,
}

/// A block of which more is to come.
pub(super) struct Partial {
    pub stream: StreamId,
    pub end: bool,
    pub block: Vec<u8>,
    continuations: u32,
}

/// Nothing but indices, into a table that has not changed since.
struct Remembered {
    block: Vec<u8>,
    version: u64,
    head: Arc<Head>,
}

// === impl Heads ===

impl Heads {
    pub fn new(bytes_max: usize) -> Heads {
        Heads { decoder: Decoder::new(), bytes_max, partial: None, remembered: Vec::new(), hand: 0 }
    }

    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    pub fn half(&self) -> Option<StreamId> {
        self.partial.as_ref().map(|partial| partial.stream)
    }

    pub fn begin(&mut self, stream: StreamId, end: bool, block: &[u8]) {
        let block = block.to_vec();
        self.partial = Some(Partial { stream, end, block, continuations: 0 });
    }

    /// The whole block, once it is.
    pub fn go_on(
        &mut self,
        stream: StreamId,
        more: &[u8],
        is_last: bool,
    ) -> Result<Option<Partial>, Fatal> {
        let partial = self.partial.as_mut().filter(|partial| partial.stream == stream);
        let Some(partial) = partial else {
            return Err(Code::PROTOCOL_ERROR.fatal("CONTINUATION of nothing"));
        };
        partial.continuations += 1;
        if partial.continuations > CONTINUATIONS_MAX
            || partial.block.len() + more.len() > self.bytes_max
        {
            return Err(Code::ENHANCE_YOUR_CALM.fatal("a head without an end"));
        }
        partial.block.extend_from_slice(more);
        Ok(if is_last { self.partial.take() } else { None })
    }

    pub fn request(&mut self, block: &[u8]) -> Result<Result<Arc<Head>, Unfit>, Fatal> {
        let before = self.decoder.version();
        let known = |known: &&Remembered| known.version == before && known.block == block;
        if let Some(known) = self.remembered.iter().find(known) {
            return Ok(Ok(known.head.clone()));
        }
        let head = match self.gather(block)?.request() {
            Ok(head) => Arc::new(head),
            Err(unfit) => return Ok(Err(unfit)),
        };
        let version = self.decoder.version();
        if version == before && block.len() <= REMEMBERED_BYTES_MAX {
            self.remember(Remembered { block: block.to_vec(), version, head: head.clone() });
        }
        Ok(Ok(head))
    }

    pub fn response(&mut self, block: &[u8]) -> Result<Result<Response, Unfit>, Fatal> {
        Ok(self.gather(block)?.response())
    }

    pub fn trailers(&mut self, block: &[u8]) -> Result<Result<Vec<Field>, Unfit>, Fatal> {
        Ok(self.gather(block)?.trailers())
    }

    /// Keeps the tables equal, for a head that nobody wants.
    pub fn skip(&mut self, block: &[u8]) -> Result<(), Fatal> {
        self.gather(block).map(|_| ())
    }

    fn gather(&mut self, block: &[u8]) -> Result<Gathering, Fatal> {
        let mut gathering = Gathering::new(self.bytes_max);
        let decoded = self.decoder.decode(block, |entry| gathering.field(entry));
        decoded.map_err(|_| Code::COMPRESSION_ERROR.fatal("fields that HPACK does not explain"))?;
        Ok(gathering)
    }

    fn remember(&mut self, remembered: Remembered) {
        if self.remembered.len() < REMEMBERED_MAX {
            return self.remembered.push(remembered);
        }
        self.remembered[self.hand] = remembered;
        self.hand = (self.hand + 1) % REMEMBERED_MAX;
    }
}
