//! A frame to write, in the pieces it consists of.

use bytes::{Bytes, BytesMut};

/// In the order to write them, for one vectored write. Pieces that follow each
/// other in memory, as after reading, are one again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(Vec<Bytes>);

// === impl Parts ===

impl Parts {
    pub(crate) fn join(pieces: impl IntoIterator<Item = BytesMut>) -> Parts {
        let mut parts = Vec::new();
        let mut last = BytesMut::new();
        for piece in pieces {
            let adjacent = last.as_ptr_range().end == piece.as_ptr();
            if last.is_empty() || adjacent {
                last.unsplit(piece);
            } else if !piece.is_empty() {
                parts.push(std::mem::replace(&mut last, piece).freeze());
            }
        }
        if !last.is_empty() {
            parts.push(last.freeze());
        }
        Parts(parts)
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// In one piece, copied unless it is one already.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.0.len() {
            0 | 1 => self.0.pop().unwrap_or_default(),
            _ => self.0.concat().into(),
        }
    }
}

impl IntoIterator for Parts {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
